{{- /* Names of templates are shared by all charts of a release: these have the product's domain, which no other chart's begin with. */ -}}
{{- /* Any text as a label's value. */ -}}
{{- define "sorcha.dev/labelValue" -}}
{{- regexReplaceAll "^[^A-Za-z0-9]+|[^A-Za-z0-9]+$" (regexReplaceAll "[^A-Za-z0-9_.-]" . "_" | trunc 63) "" }}
{{- end }}

{{- /*
Any text as a name that every kind of object takes (a Service's must begin with a letter and has no dots), with room for a suffix
of 16 characters. One that had to be changed ends in a digest of what it was: two texts never become one name.
*/ -}}
{{- define "sorcha.dev/objectName" -}}
{{- $name := regexReplaceAll "[^a-z0-9-]+" (lower .) "-" | trimAll "-" }}
{{- if not (regexMatch "^[a-z]" $name) }}{{ $name = printf "r-%s" $name }}{{ end }}
{{- if or (ne $name .) (gt (len $name) 47) }}
{{- $name = printf "%s-%s" ($name | trunc 38 | trimAll "-") (sha256sum . | trunc 8) }}
{{- end }}
{{- $name }}
{{- end }}

{{- /* A label that is its own, also of an alias that is no label. */ -}}
{{- define "sorcha.dev/name" -}}
{{- $name := .Values.nameOverride | default .Chart.Name }}
{{- $label := include "sorcha.dev/labelValue" $name }}
{{- if ne $label $name }}{{ $label = printf "%s-%s" ($label | trunc 54) (sha256sum $name | trunc 8) | trimPrefix "-" }}{{ end }}
{{- $label }}
{{- end }}

{{- /* Under an alias, as a second copy in one parent chart, the release's name alone would be that of both. */ -}}
{{- define "sorcha.dev/fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name }}
{{- if .Values.fullnameOverride }}
{{- include "sorcha.dev/objectName" .Values.fullnameOverride }}
{{- else if and (eq .Chart.Name "sorcha") (contains $name .Release.Name) }}
{{- include "sorcha.dev/objectName" .Release.Name }}
{{- else }}
{{- include "sorcha.dev/objectName" (printf "%s-%s" .Release.Name $name) }}
{{- end }}
{{- end }}

{{- define "sorcha.dev/selectorLabels" -}}
app.kubernetes.io/name: {{ include "sorcha.dev/name" . | quote }}
app.kubernetes.io/instance: {{ include "sorcha.dev/labelValue" .Release.Name | quote }}
{{- end }}

{{- define "sorcha.dev/labels" -}}
{{ include "sorcha.dev/selectorLabels" . }}
app.kubernetes.io/version: {{ include "sorcha.dev/labelValue" .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: sorcha
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ include "sorcha.dev/labelValue" (printf "%s-%s" .Chart.Name .Chart.Version) | quote }}
{{- end }}

{{- /* Labels from a value, as a list: the value's name, the labels, the chart's own ones, none of which they may replace. */ -}}
{{- define "sorcha.dev/moreLabels" -}}
{{- $own := index . 2 | fromYaml }}
{{- range $key := index . 1 | keys | sortAlpha }}
{{- if hasKey $own $key }}
{{- fail (printf "%s: the label %s is the chart's own; take another key" (index $ 0) $key) }}
{{- end }}
{{- end }}
{{- index . 1 | toYaml }}
{{- end }}

{{- define "sorcha.dev/controllerSelectorLabels" -}}
{{ include "sorcha.dev/selectorLabels" . }}
app.kubernetes.io/component: controller
{{- end }}

{{- define "sorcha.dev/controllerLabels" -}}
{{ include "sorcha.dev/labels" . }}
app.kubernetes.io/component: controller
{{- end }}

{{- define "sorcha.dev/demoLabels" -}}
{{ include "sorcha.dev/labels" . }}
app.kubernetes.io/component: demo
{{- end }}

{{- define "sorcha.dev/drillSelectorLabels" -}}
{{ include "sorcha.dev/selectorLabels" . }}
app.kubernetes.io/component: drill
{{- end }}

{{- define "sorcha.dev/drillLabels" -}}
{{ include "sorcha.dev/labels" . }}
app.kubernetes.io/component: drill
{{- end }}

{{- define "sorcha.dev/image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default (regexReplaceAll "[^A-Za-z0-9_.-]" .Chart.AppVersion "_")) }}
{{- end }}
{{- end }}

{{- define "sorcha.dev/serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "sorcha.dev/fullname" .) }}
{{- else }}
{{- .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{- /* Whose tokens publish; it may do nothing else. */ -}}
{{- define "sorcha.dev/publisherServiceAccountName" -}}
{{- printf "%s-publisher" (include "sorcha.dev/fullname" .) }}
{{- end }}

{{- define "sorcha.dev/releaseSelectorLabels" -}}
{{ include "sorcha.dev/selectorLabels" . }}
app.kubernetes.io/component: release
{{- end }}

{{- define "sorcha.dev/releaseLabels" -}}
{{ include "sorcha.dev/labels" . }}
app.kubernetes.io/component: release
{{- end }}

{{- /* Namespace watched; empty: all. */ -}}
{{- define "sorcha.dev/watchNamespace" -}}
{{- if eq .Values.scope "Namespace" }}
{{- .Values.watchNamespace | default .Release.Namespace }}
{{- end }}
{{- end }}

{{- /* ClusterRole and binding by which central nodes check publishers' tokens; empty: they may not. */ -}}
{{- define "sorcha.dev/nodeReviews" -}}
{{- if and .Values.rbac.create (eq .Values.scope "Cluster") }}
{{- printf "%s-node-reviews" (include "sorcha.dev/fullname" .) }}
{{- end }}
{{- end }}

{{- define "sorcha.dev/publishTokensSecret" -}}
{{- .Values.demo.publishTokens.existingSecret | default (printf "%s-demo-publishers" (include "sorcha.dev/fullname" .)) }}
{{- end }}

{{- /* Restricted Pod Security; the image's user. */ -}}
{{- define "sorcha.dev/podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "sorcha.dev/securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- /* Seconds of a duration such as 1h30m, without a part of a second. */ -}}
{{- define "sorcha.dev/seconds" -}}
{{- $whole := regexReplaceAll "[0-9]+ms$" . "" }}
{{- $hours := regexFind "[0-9]+h" $whole | trimSuffix "h" | default "0" }}
{{- $minutes := regexFind "[0-9]+m" $whole | trimSuffix "m" | default "0" }}
{{- $seconds := regexFind "[0-9]+s" $whole | trimSuffix "s" | default "0" }}
{{- add (mul (atoi (regexReplaceAll "^0+([0-9])" $hours "${1}")) 3600) (mul (atoi (regexReplaceAll "^0+([0-9])" $minutes "${1}")) 60) (atoi (regexReplaceAll "^0+([0-9])" $seconds "${1}")) }}
{{- end }}

{{- /* What no schema of single values shows. */ -}}
{{- define "sorcha.dev/validate" -}}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$" .Release.Namespace) }}
{{- fail (printf "the release's namespace %q is none: at most 63 characters a-z, 0-9 and -, with a letter or digit at both ends" .Release.Namespace) }}
{{- end }}
{{- if not (or .Values.image.tag .Values.image.digest (regexMatch "^[A-Za-z0-9_].{0,127}$" .Chart.AppVersion)) }}
{{- fail (printf "image.tag is empty, and the chart's appVersion %q is no tag: set image.tag" .Chart.AppVersion) }}
{{- end }}
{{- if and (gt (int .Values.replicas) 1) (not .Values.controller.leaderElection) }}
{{- fail "replicas is greater than 1, so controller.leaderElection must be true: without it every replica reconciles" }}
{{- end }}
{{- if lt (include "sorcha.dev/seconds" .Values.controller.resync | int64) 10 }}
{{- fail (printf "controller.resync is %s: at least 10s, since each look costs calls" .Values.controller.resync) }}
{{- end }}
{{- $certificates := .Values.controller.certificates }}
{{- $settle := include "sorcha.dev/seconds" $certificates.settle | int64 }}
{{- $lifetime := include "sorcha.dev/seconds" $certificates.lifetime | int64 }}
{{- if lt $lifetime (max 60 (mul 6 $settle)) }}
{{- fail (printf "controller.certificates.lifetime is %s: at least 1m, and six times controller.certificates.settle, which is %s" $certificates.lifetime $certificates.settle) }}
{{- end }}
{{- if lt (include "sorcha.dev/seconds" $certificates.caLifetime | int64) (mul 3 $lifetime) }}
{{- fail (printf "controller.certificates.caLifetime is %s: at least three times controller.certificates.lifetime, which is %s" $certificates.caLifetime $certificates.lifetime) }}
{{- end }}
{{- if and .Values.watchNamespace (ne .Values.scope "Namespace") }}
{{- fail "watchNamespace is set, so scope must be Namespace" }}
{{- end }}
{{- if and .Values.demo.enabled (eq .Values.scope "Namespace") (ne (include "sorcha.dev/watchNamespace" .) .Release.Namespace) }}
{{- fail "demo.enabled: the demo network is made in the release's namespace, so watchNamespace must be that one or empty" }}
{{- end }}
{{- end }}
