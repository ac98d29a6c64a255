{{/* Parts of pods. Collector and drain Job are made of the same ones: a drain that runs as another user, lacks a volume or
     reads other options could not read what the collector wrote, or would deliver it elsewhere. */}}

{{- define "ringmain.podSecurity" -}}
{{ toYaml .Values.podSecurityContext }}
{{- end }}

{{- define "ringmain.containerSecurity" -}}
{{ toYaml .Values.containerSecurityContext }}
{{- end }}

{{/* Options, then files of Secrets (a secret by the name of its file, a path as the path), then the values' own env. */}}
{{- define "ringmain.env" -}}
{{- range $name, $value := .Values.config }}
{{- if not (kindIs "invalid" $value) }}
- { name: {{ $name }}, value: {{ include "ringmain.text" $value | quote }} }
{{- end }}
{{- end }}
{{- range $name, $ref := .Values.secrets }}
- { name: {{ $name }}_FILE, value: /run/secrets/ringmain/{{ $name }} }
{{- end }}
{{- range $name, $ref := .Values.secretFiles }}
- { name: {{ $name }}, value: /run/secrets/ringmain/{{ $name }} }
{{- end }}
{{- with .Values.env }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Environment, mounts and image of a container that opens the journal. */}}
{{- define "ringmain.container" -}}
image: {{ include "ringmain.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env: {{- include "ringmain.env" . | trim | nindent 2 }}
{{- with .Values.envFrom }}
envFrom: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext: {{- include "ringmain.containerSecurity" . | nindent 2 }}
volumeMounts:
  - { name: journal, mountPath: /data }
  {{- if or .Values.secrets .Values.secretFiles }}
  - { name: secrets, mountPath: /run/secrets/ringmain, readOnly: true }
  {{- end }}
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* Volumes but for the journal's own. */}}
{{- define "ringmain.volumes" -}}
{{- $files := merge (dict) .Values.secrets .Values.secretFiles -}}
{{- if $files }}
- name: secrets
  projected:
    # 0440, as every reader of YAML understands it.
    defaultMode: 288
    sources:
      {{- range $name, $ref := $files }}
      - secret: { name: {{ $ref.name | quote }}, items: [{ key: {{ $ref.key | quote }}, path: {{ $name }} }] }
      {{- end }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Where and how a pod of any kind is placed and started. */}}
{{- define "ringmain.placing" -}}
# Services named KAFKA or PG would inject KAFKA_PORT and the like, which look like options.
enableServiceLinks: false
{{- range $key := list "imagePullSecrets" "nodeSelector" "tolerations" "affinity" "hostAliases" "dnsConfig" }}
{{- with index $.Values $key }}
{{ $key }}: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- range $key := list "priorityClassName" "runtimeClassName" "schedulerName" "dnsPolicy" }}
{{- with index $.Values $key }}
{{ $key }}: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}
