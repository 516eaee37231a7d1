{{- define "sorcha.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- /* At most 47 characters, so that suffixes fit into a name of 63. */ -}}
{{- define "sorcha.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 47 | trimSuffix "-" }}
{{- else }}
{{- $name := include "sorcha.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 47 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 47 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "sorcha.selectorLabels" -}}
app.kubernetes.io/name: {{ include "sorcha.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "sorcha.labels" -}}
{{ include "sorcha.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: sorcha
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "sorcha.controllerSelectorLabels" -}}
{{ include "sorcha.selectorLabels" . }}
app.kubernetes.io/component: controller
{{- end }}

{{- define "sorcha.controllerLabels" -}}
{{ include "sorcha.labels" . }}
app.kubernetes.io/component: controller
{{- end }}

{{- define "sorcha.demoLabels" -}}
{{ include "sorcha.labels" . }}
app.kubernetes.io/component: demo
{{- end }}

{{- define "sorcha.drillSelectorLabels" -}}
{{ include "sorcha.selectorLabels" . }}
app.kubernetes.io/component: drill
{{- end }}

{{- define "sorcha.drillLabels" -}}
{{ include "sorcha.labels" . }}
app.kubernetes.io/component: drill
{{- end }}

{{- define "sorcha.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{- define "sorcha.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "sorcha.fullname" .) }}
{{- else }}
{{- .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{- /* Whose tokens publish; it may do nothing else. */ -}}
{{- define "sorcha.publisherServiceAccountName" -}}
{{- printf "%s-publisher" (include "sorcha.fullname" .) }}
{{- end }}

{{- define "sorcha.releaseSelectorLabels" -}}
{{ include "sorcha.selectorLabels" . }}
app.kubernetes.io/component: release
{{- end }}

{{- define "sorcha.releaseLabels" -}}
{{ include "sorcha.labels" . }}
app.kubernetes.io/component: release
{{- end }}

{{- /* Namespace watched; empty: all. */ -}}
{{- define "sorcha.watchNamespace" -}}
{{- if eq .Values.scope "Namespace" }}
{{- .Values.watchNamespace | default .Release.Namespace }}
{{- end }}
{{- end }}

{{- /* ClusterRole and binding by which central nodes check publishers' tokens; empty: they may not. */ -}}
{{- define "sorcha.nodeReviews" -}}
{{- if and .Values.rbac.create (eq .Values.scope "Cluster") }}
{{- printf "%s-node-reviews" (include "sorcha.fullname" .) }}
{{- end }}
{{- end }}

{{- define "sorcha.publishTokensSecret" -}}
{{- .Values.demo.publishTokens.existingSecret | default (printf "%s-demo-publishers" (include "sorcha.fullname" .)) }}
{{- end }}

{{- /* Restricted Pod Security; the image's user. */ -}}
{{- define "sorcha.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "sorcha.securityContext" -}}
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

{{- /* What no schema of single values shows. */ -}}
{{- define "sorcha.validate" -}}
{{- if and (gt (int .Values.replicas) 1) (not .Values.controller.leaderElection) }}
{{- fail "replicas is greater than 1, so controller.leaderElection must be true: without it every replica reconciles" }}
{{- end }}
{{- if and .Values.watchNamespace (ne .Values.scope "Namespace") }}
{{- fail "watchNamespace is set, so scope must be Namespace" }}
{{- end }}
{{- if and .Values.demo.enabled (eq .Values.scope "Namespace") (ne (include "sorcha.watchNamespace" .) .Release.Namespace) }}
{{- fail "demo.enabled: the demo network is made in the release's namespace, so watchNamespace must be that one or empty" }}
{{- end }}
{{- end }}
