{{/* What the templates read from Ringmain's own options (`config`): ports, probes and times follow them. */}}

{{/* A value of `config` as the text of an environment variable. Helm reads every number of a values file as a float, and
     its `quote` and `toString` print a large one as 1.7179869184e+10. */}}
{{- define "ringmain.text" -}}
{{- if and (kindIs "slice" .) (not (and . (kindIs "map" (first .)))) -}}
{{- $items := list -}}
{{- range . }}{{ $items = append $items (include "ringmain.text" .) }}{{ end -}}
{{- join "," $items -}}
{{- else if or (kindIs "map" .) (kindIs "slice" .) (kindIs "float64" .) -}}
{{- toJson . -}}
{{- else -}}
{{- toString . -}}
{{- end -}}
{{- end }}

{{/* The service that runs, and where it listens without SERVER_ADDR. */}}
{{- define "ringmain.service" -}}
{{- first .Values.run -}}
{{- end }}
{{- define "ringmain.address" -}}
{{- $roles := dict "analytics processor" ":8081" "sms reporting" ":8081" "sms worker" ":8082" "sms partitions" ":8083" -}}
{{- $services := dict "pixel" ":19890" "analytics" ":8080" "gateway" ":8080" "sms" ":8080" -}}
{{- index $roles (join " " .Values.run) | default (index $services (include "ringmain.service" .)) -}}
{{- end }}

{{/* A whole number of the values, whatever Helm has read it as. */}}
{{- define "ringmain.integer" -}}
{{- int64 . -}}
{{- end }}

{{/* (list $ NAME DEFAULT): the text of an option, or its default. */}}
{{- define "ringmain.option" -}}
{{- $value := index (index . 0).Values.config (index . 1) -}}
{{- if kindIs "invalid" $value }}{{ index . 2 }}{{ else }}{{ include "ringmain.text" $value }}{{ end -}}
{{- end }}

{{/* (list $ NAME DEFAULT): a duration in ms. Ringmain takes 500ms, 5s, 10m, 2h, 7d, and a plain number as ms. */}}
{{- define "ringmain.ms" -}}
{{- $text := include "ringmain.option" . | lower | trim -}}
{{- if not (regexMatch "^[0-9]+(\\.[0-9]+)? ?(ms|s|m|h|d)?$" $text) -}}
{{- fail (printf "config.%s must be a duration like 500ms, 5s or 10m: found=%s" (index . 1) $text) -}}
{{- end -}}
{{- $unit := regexFind "[a-z]*$" $text -}}
{{- $factor := index (dict "" 1 "ms" 1 "s" 1000 "m" 60000 "h" 3600000 "d" 86400000) $unit -}}
{{- mulf (regexFind "^[0-9.]+" $text | float64) (float64 $factor) | ceil | int64 -}}
{{- end }}

{{/* Seconds from the end of a pod to its kill: the pause before SIGTERM, the drain, and time to end. */}}
{{- define "ringmain.graceSeconds" -}}
{{- $delay := include "ringmain.ms" (list . "DRAIN_DELAY_MS" "0") | int64 -}}
{{- $drain := include "ringmain.ms" (list . "DRAIN_TIMEOUT_MS" "10000") | int64 -}}
{{- add (int64 .Values.preStopSeconds) (div (add $delay $drain 999) 1000) 12 -}}
{{- end }}

{{/* (list $ NAME DEFAULT): the port of host:port, :port or [v6]:port. */}}
{{- define "ringmain.port" -}}
{{- $address := include "ringmain.option" . -}}
{{- $port := regexFind "[0-9]+$" $address -}}
{{- if not (regexMatch ":[0-9]+$" $address) -}}
{{- fail (printf "config.%s must be host:port, :port or [v6]:port: found=%s" (index . 1) $address) -}}
{{- end -}}
{{- $port -}}
{{- end }}

{{/* Empty, or the port of /healthz, /readyz and /metrics alone. */}}
{{- define "ringmain.adminPort" -}}
{{- if include "ringmain.option" (list . "ADMIN_ADDR" "") }}{{ include "ringmain.port" (list . "ADMIN_ADDR" "") }}{{ end -}}
{{- end }}

{{/* Empty, or the port of reports, where they are not the only role: `sms` and `sms all` listen at both. */}}
{{- define "ringmain.reportingPort" -}}
{{- if and (has (join " " .Values.run) (list "sms" "sms all")) (ne (include "ringmain.option" (list . "REPORTS" "on")) "off") -}}
{{- include "ringmain.port" (list . "REPORTING_ADDR" ":8081") -}}
{{- end -}}
{{- end }}

{{/* Name of the port that probes and Prometheus ask. */}}
{{- define "ringmain.opsPort" -}}
{{- if include "ringmain.adminPort" . }}admin{{ else }}http{{ end -}}
{{- end }}

{{/* ADMIN_ADDR speaks plain HTTP, SERVER_ADDR TLS when it has a certificate. */}}
{{- define "ringmain.opsScheme" -}}
{{- $given := merge (dict) .Values.secretFiles .Values.config -}}
{{- if and (or (hasKey $given "TLS_CERT") (hasKey $given "SSL_CERT_FILE")) (not (include "ringmain.adminPort" .)) }}HTTPS{{ else }}HTTP{{ end -}}
{{- end }}

{{/* Not empty when volumes of removed pods are drained: without a journal there is nothing in them. */}}
{{- define "ringmain.drains" -}}
{{- if and .Values.drain.enabled (ne (include "ringmain.option" (list . "JOURNAL_DIR" "")) "off") }}yes{{ end -}}
{{- end }}

{{/* Refuses what the schema of the values cannot see. */}}
{{- define "ringmain.check" -}}
{{- $ops := include "ringmain.option" (list . "ADMIN_ADDR" "") | default (include "ringmain.option" (list . "SERVER_ADDR" (include "ringmain.address" .))) -}}
{{- if regexMatch "^(127\\.|localhost:|\\[::1\\])" $ops -}}
{{- fail (printf "the address of /healthz must be reached by the kubelet, from outside the pod: found=%s" $ops) -}}
{{- end -}}
{{- if hasKey .Values.config "SERVER_PORT" -}}
{{- fail "config.SERVER_ADDR must be given in place of config.SERVER_PORT: ports and probes are made from it" -}}
{{- end -}}
{{- range list "HTTP_HOST" "HTTP_PORT" -}}
{{- if hasKey $.Values.config . -}}
{{- fail (printf "config.SERVER_ADDR or REPORTING_ADDR must be given in place of config.%s: ports and probes are made from them" .) -}}
{{- end -}}
{{- end -}}
{{- range .Values.env -}}
{{- if regexMatch "^(SERVER_ADDR|REPORTING_ADDR|HTTP_HOST|HTTP_PORT|SERVER_PORT|ADMIN_ADDR|DRAIN_DELAY_MS|DRAIN_TIMEOUT_MS|JOURNAL_DIR|TLS_CERT|SSL_CERT_FILE)$" .name -}}
{{- fail (printf "%s must be in config, not in env: ports, probes and times are made from it" .name) -}}
{{- end -}}
{{- if hasKey $.Values.config .name -}}{{- fail (printf "%s must be in config or in env, not in both" .name) -}}{{- end -}}
{{- end -}}
{{- range $name, $ref := merge (dict) .Values.secrets .Values.secretFiles -}}
{{- if hasKey $.Values.config $name -}}{{- fail (printf "%s must be in config or in a Secret, not in both" $name) -}}{{- end -}}
{{- end -}}
{{- $journal := include "ringmain.option" (list . "JOURNAL_DIR" "/data/journal") -}}
{{- if not (or (eq $journal "off") (hasPrefix "/data/" $journal)) -}}
{{- fail (printf "config.JOURNAL_DIR must lie under /data, where the volume is, or be off: found=%s" $journal) -}}
{{- end -}}
{{- end }}
