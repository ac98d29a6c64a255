{{/* The Job of one volume. drain-controller.mjs adds volume and attempt to its name, and puts the volume's claim in. */}}
{{- define "ringmain.drainJob" -}}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ include "ringmain.name" . }}-drain
  labels: {{- include "ringmain.labels" . | nindent 4 }}
    app.kubernetes.io/component: drain
  {{- with include "ringmain.annotations" (list .) | trim }}{{ . | nindent 2 }}{{ end }}
spec:
  # The controller repeats a Job that failed, later each time. A pod that was evicted is replaced here. 64 and 78: command
  # line or configuration, which does not heal by itself; the controller then waits longest.
  backoffLimit: 0
  podFailurePolicy:
    rules:
      - action: Ignore
        onPodConditions: [{ type: DisruptionTarget, status: 'True' }]
      - action: FailJob
        onExitCodes: { containerName: drain, operator: In, values: [64, 78] }
  # The drain's own limit, and time to attach the volume and fetch the image: a pod that cannot start ends as well.
  activeDeadlineSeconds: {{ add (int64 .Values.drain.timeoutSeconds) 300 }}
  # Once an hour the volume is looked at again: its collector may have been back. A drain of an empty journal takes a second.
  ttlSecondsAfterFinished: 3600
  template:
    metadata:
      labels: {{- include "ringmain.labels" . | nindent 8 }}
        app.kubernetes.io/component: drain
        {{- with .Values.podLabels }}{{ toYaml . | nindent 8 }}{{ end }}
      {{- with include "ringmain.annotations" (list . .Values.podAnnotations) | trim }}{{ . | nindent 6 }}{{ end }}
    spec:
      {{- include "ringmain.placing" . | nindent 6 }}
      restartPolicy: Never
      automountServiceAccountToken: false
      serviceAccountName: {{ include "ringmain.serviceAccount" . }}
      terminationGracePeriodSeconds: 30
      securityContext: {{- include "ringmain.podSecurity" . | nindent 8 }}
      {{- with .Values.initContainers }}
      initContainers: {{- toYaml . | nindent 8 }}
      {{- end }}
      containers:
        - name: drain
          args: [journal, drain, --service={{ include "ringmain.service" . }}, '--timeout={{ int64 .Values.drain.timeoutSeconds }}']
          {{- include "ringmain.container" . | nindent 10 }}
          resources: {{- toYaml .Values.drain.resources | nindent 12 }}
      volumes:
        - { name: journal, persistentVolumeClaim: { claimName: journal } }
        {{- include "ringmain.volumes" . | nindent 8 }}
{{- end }}
