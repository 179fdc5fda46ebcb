{{/* The name of everything. */}}
{{- define "perisco.name" -}}
{{- default .Release.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* What selects the pods; never changes for a release. */}}
{{- define "perisco.selector" -}}
app.kubernetes.io/name: perisco
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "perisco.labels" -}}
{{ include "perisco.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end -}}

{{- define "perisco.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "perisco.name" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}
