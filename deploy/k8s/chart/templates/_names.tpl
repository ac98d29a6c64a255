{{- define "ringmain.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "ringmain.selector" -}}
app.kubernetes.io/name: ringmain
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "ringmain.labels" -}}
{{ include "ringmain.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "ringmain.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* Everything that opens the journal runs as this: collector and drain Job alike, or one could not read what the other wrote. */}}
{{- define "ringmain.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
fsGroup: 1000
fsGroupChangePolicy: OnRootMismatch
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "ringmain.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{- define "ringmain.env" -}}
{{- range $name, $value := .Values.config }}
- { name: {{ $name }}, value: {{ $value | quote }} }
{{- end }}
{{- range $name, $ref := .Values.secrets }}
- { name: {{ $name }}_FILE, value: /run/secrets/ringmain/{{ $name }} }
{{- end }}
{{- end }}

{{- define "ringmain.secretVolume" -}}
{{- if .Values.secrets -}}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- range $name, $ref := .Values.secrets }}
      - secret: { name: {{ $ref.name | quote }}, items: [{ key: {{ $ref.key | quote }}, path: {{ $name }} }] }
      {{- end }}
{{- end }}
{{- end }}

{{- define "ringmain.secretMount" -}}
{{- if .Values.secrets -}}
- { name: secrets, mountPath: /run/secrets/ringmain, readOnly: true }
{{- end }}
{{- end }}
