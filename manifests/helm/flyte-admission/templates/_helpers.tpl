{{/* What selects the Pods of a component. */}}
{{- define "flyte-admission.selector" -}}
app.kubernetes.io/name: flyte-admission
app.kubernetes.io/component: {{ . }}
{{- end }}

{{/* The labels of an object: (list . "webhook"). */}}
{{- define "flyte-admission.labels" -}}
{{- include "flyte-admission.selector" (index . 1) }}
{{- with omit (index . 0).Values.commonLabels "app.kubernetes.io/name" "app.kubernetes.io/component" }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The labels of a Pod: (list . "webhook"). */}}
{{- define "flyte-admission.podLabels" -}}
{{- $values := (index . 0).Values -}}
{{- toYaml (merge (include "flyte-admission.selector" (index . 1) | fromYaml) $values.podLabels $values.commonLabels) -}}
{{- end }}

{{- define "flyte-admission.image" -}}
{{- if not .Values.image.repository -}}
{{- fail "image.repository: name the registry and repository that your nodes pull the image from; there is no public image" -}}
{{- end -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* The Secret that certs takes the certificate from; empty where it issues one. */}}
{{- define "flyte-admission.source" -}}
{{- if and .Values.certificates.certManager.enabled .Values.certificates.existingSecret -}}
{{- fail "certificates: certManager.enabled and existingSecret exclude each other; choose one" -}}
{{- else if eq .Values.certificates.existingSecret "flyte-admission-tls" -}}
{{- fail "certificates.existingSecret: certs writes flyte-admission-tls itself; give your Secret another name" -}}
{{- else if .Values.certificates.certManager.enabled -}}
flyte-admission-cert-manager
{{- else -}}
{{ .Values.certificates.existingSecret }}
{{- end -}}
{{- end }}

{{/* The seconds of a duration of certs, such as 90d. */}}
{{- define "flyte-admission.seconds" -}}
{{- regexFind "[0-9]+" . | int64 | mul (get (dict "d" 86400 "h" 3600 "m" 60 "s" 1) (regexFind "[dhms]" .)) -}}
{{- end }}

{{/* Check the lifetimes as certs does, before it is installed. */}}
{{- define "flyte-admission.checkLifetimes" -}}
{{- $leaf := include "flyte-admission.seconds" .leafLifetime | int64 -}}
{{- if gt $leaf (include "flyte-admission.seconds" .caLifetime | int64) -}}
{{- fail (printf "certificates.selfSigned.leafLifetime: %s is over caLifetime, %s; write that or less" .leafLifetime .caLifetime) -}}
{{- end -}}
{{- if ge (include "flyte-admission.seconds" .renewBefore | int64) $leaf -}}
{{- fail (printf "certificates.selfSigned.renewBefore: %s is not under leafLifetime, %s; write less" .renewBefore .leafLifetime) -}}
{{- end -}}
{{- end }}

{{/* A selector of namespaces that never takes in kube-system or our own. */}}
{{- define "flyte-admission.namespaceSelector" -}}
{{- $own := dict "key" "kubernetes.io/metadata.name" "operator" "NotIn" "values" (list "kube-system" .namespace) -}}
{{- $expressions := append (.selector.matchExpressions | default list) $own -}}
{{- toYaml (merge (dict "matchExpressions" $expressions) .selector) -}}
{{- end }}

{{/* The policy of enforceEveryPodInNamespace lets in what the default selectors send to the webhook. */}}
{{- define "flyte-admission.checkObjectSelectors" -}}
{{- $flyte1 := dict "matchExpressions" (list (dict "key" "execution-id" "operator" "Exists")) -}}
{{- $run := list (dict "key" "flyte.org/run" "operator" "Exists") (dict "key" "execution-id" "operator" "DoesNotExist") -}}
{{- if ne (toJson .) (toJson (dict "flyte1" $flyte1 "flyte2" (dict "matchExpressions" $run))) -}}
{{- fail "enforceEveryPodInNamespace goes by the labels execution-id and flyte.org/run; leave webhook.objectSelector as it is" -}}
{{- end -}}
{{- end }}

{{/* The NetworkPolicy rule for clients that read metrics. Without clients there is no rule, because an empty `from` allows everyone. */}}
{{- define "flyte-admission.metricsIngress" -}}
{{- with .Values.networkPolicy.metricsFrom }}
- from: {{- toYaml . | nindent 4 }}
  ports:
    - port: health
      protocol: TCP
{{- end }}
{{- end }}

{{/* To the API server, by its ports before and after its Service. */}}
{{- define "flyte-admission.egress" -}}
- ports:
    {{- range .Values.networkPolicy.apiServerPorts }}
    - port: {{ . }}
      protocol: TCP
    {{- end }}
  {{- with .Values.networkPolicy.apiServerTo }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "flyte-admission.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* What an admin may choose for all our Pods. */}}
{{- define "flyte-admission.placement" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The entries of a webhook configuration: two for Pods, and two for jobs. */}}
{{- define "flyte-admission.webhooks" -}}
{{- $pods := dict "suffix" "" "failurePolicy" .root.Values.webhook.failurePolicy "rules" (include "flyte-admission.podRules" .) -}}
{{- include "flyte-admission.bothGenerations" (merge $pods .) }}
{{- if .root.Values.jobs.enabled }}
{{- $jobs := dict "suffix" "-jobs" "failurePolicy" .root.Values.jobs.failurePolicy "rules" (include "flyte-admission.jobRules" .) -}}
{{- include "flyte-admission.bothGenerations" (merge $jobs .) }}
{{- end }}
{{- end }}

{{- define "flyte-admission.podRules" -}}
- apiGroups: [""]
  apiVersions: [v1]
  operations: [CREATE]
  resources: [pods]
  scope: Namespaced
- apiGroups: [""]
  apiVersions: [v1]
  operations: [UPDATE]
  resources: [pods/resize]
  scope: Namespaced
{{- end }}

{{- define "flyte-admission.jobRules" -}}
- apiGroups: [ray.io]
  apiVersions: [v1]
  operations: [CREATE]
  resources: [rayjobs]
  scope: Namespaced
- apiGroups: [sparkoperator.k8s.io]
  apiVersions: [v1beta2]
  operations: [CREATE]
  resources: [sparkapplications]
  scope: Namespaced
- apiGroups: [kubernetes.dask.org]
  apiVersions: [v1]
  operations: [CREATE]
  resources: [daskjobs]
  scope: Namespaced
- apiGroups: [kubeflow.org]
  apiVersions: [v1]
  operations: [CREATE]
  resources: [pytorchjobs, tfjobs, mpijobs]
  scope: Namespaced
- apiGroups: [jobset.x-k8s.io]
  apiVersions: [v1alpha2]
  operations: [CREATE]
  resources: [jobsets]
  scope: Namespaced
{{- end }}

{{/* An entry for each generation of Flyte. */}}
{{- define "flyte-admission.bothGenerations" -}}
{{- $root := .root -}}
{{- range $generation := list "flyte1" "flyte2" }}
- name: {{ $generation }}{{ $.suffix }}.flyte-admission.io
  clientConfig:
    service:
      name: flyte-admission
      namespace: {{ $root.Release.Namespace | quote }}
      path: {{ $.path }}
      port: 443
  rules: {{- $.rules | nindent 4 }}
  namespaceSelector:
    {{- include "flyte-admission.namespaceSelector" (dict "selector" $root.Values.webhook.namespaceSelector "namespace" $root.Release.Namespace) | nindent 4 }}
  objectSelector: {{- toYaml (get $root.Values.webhook.objectSelector $generation) | nindent 4 }}
  matchPolicy: Equivalent
  {{- with $.reinvocationPolicy }}
  reinvocationPolicy: {{ . }}
  {{- end }}
  failurePolicy: {{ $.failurePolicy }}
  sideEffects: None
  timeoutSeconds: {{ $root.Values.webhook.timeoutSeconds }}
  admissionReviewVersions: [v1]
{{- end }}
{{- end }}
