{{- /* Any text as a label's value. */ -}}
{{- define "sorcha.dev/crds.labelValue" -}}
{{- regexReplaceAll "^[^A-Za-z0-9]+|[^A-Za-z0-9]+$" (regexReplaceAll "[^A-Za-z0-9_.-]" . "_" | trunc 63) "" }}
{{- end }}
