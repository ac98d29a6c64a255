{{- define "ringmain.drainJob" -}}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ include "ringmain.name" . }}-drain-ORDINAL
  labels: {{- include "ringmain.labels" . | nindent 4 }}
    app.kubernetes.io/component: drain
spec:
  backoffLimit: 3
  activeDeadlineSeconds: {{ add .Values.drain.timeoutSeconds 60 }}
  # Once a day the volume is looked at again: a drain of an empty journal takes a second.
  ttlSecondsAfterFinished: 86400
  template:
    metadata:
      labels: {{- include "ringmain.labels" . | nindent 8 }}
        app.kubernetes.io/component: drain
    spec:
      restartPolicy: Never
      enableServiceLinks: false
      automountServiceAccountToken: false
      serviceAccountName: {{ include "ringmain.name" . }}
      terminationGracePeriodSeconds: 30
      securityContext: {{- include "ringmain.podSecurity" . | nindent 8 }}
      containers:
        - name: drain
          image: {{ include "ringmain.image" . }}
          imagePullPolicy: {{ .Values.image.pullPolicy }}
          args: [journal, drain, '--timeout={{ .Values.drain.timeoutSeconds }}']
          env: {{- include "ringmain.env" . | nindent 12 }}
          securityContext: {{- include "ringmain.containerSecurity" . | nindent 12 }}
          resources: { requests: { cpu: 100m, memory: 256Mi }, limits: { memory: 1Gi } }
          volumeMounts:
            - { name: journal, mountPath: /data }
            {{- include "ringmain.secretMount" . | nindent 12 }}
      volumes:
        - { name: journal, persistentVolumeClaim: { claimName: journal-{{ include "ringmain.name" . }}-ORDINAL } }
        {{- include "ringmain.secretVolume" . | nindent 8 }}
{{- end }}
