{{- define "ringmain.name" -}}
{{- if .Values.fullnameOverride }}{{ .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else }}{{ $name := .Values.nameOverride | default .Chart.Name -}}
{{- if contains $name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" }}{{ end -}}
{{- end -}}
{{- end }}

{{- define "ringmain.selector" -}}
app.kubernetes.io/name: ringmain
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Not for selectors and claims of volumes: those can never be changed. */}}
{{- define "ringmain.labels" -}}
{{ include "ringmain.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* (list $ ANNOTATIONS...): the common ones and the object's own, with their key; nothing when there are none. */}}
{{- define "ringmain.annotations" -}}
{{- $all := dict -}}
{{- range rest . }}{{ $all = merge $all . }}{{ end -}}
{{- $all = merge $all (first .).Values.commonAnnotations -}}
{{- with $all }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "ringmain.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "ringmain.name" .) }}
{{- end }}

{{- define "ringmain.image" -}}
{{- with .Values.image -}}
{{ with .registry }}{{ . }}/{{ end }}{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end }}
