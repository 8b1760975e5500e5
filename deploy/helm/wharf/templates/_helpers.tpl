{{- define "wharf.name" -}}
{{- $name := .Release.Name }}
{{- if not (contains .Chart.Name $name) }}{{ $name = printf "%s-%s" $name .Chart.Name }}{{ end }}
{{- $name | trunc 54 | trimSuffix "-" }}
{{- end }}

{{- define "wharf.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "wharf.labels" -}}
{{ include "wharf.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* "true" where nodes keep nothing, and there may be several of them. */}}
{{- define "wharf.isShared" -}}
{{- if and .Values.postgres.urlSecret.name .Values.s3.url }}true{{ end -}}
{{- end }}

{{- define "wharf.check" -}}
{{- if and (gt (int .Values.replicas) 1) (not (include "wharf.isShared" .)) }}
{{- fail "replicas: more than one needs postgres.urlSecret.name and s3.url, because a volume belongs to one node" }}
{{- end }}
{{- end }}

{{/* A node, whatever it is part of. Its volume "data" comes from there. */}}
{{- define "wharf.pod" -}}
metadata:
  labels:
    {{- include "wharf.labels" . | nindent 4 }}
  annotations:
    # A changed configuration is a new node.
    checksum/config: {{ include (print $.Template.BasePath "/configmap.yaml") . | sha256sum }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "wharf.name" . }}
  automountServiceAccountToken: false
  # A service `wharf` would put WHARF_PORT and the like into the environment, which are no keys of the configuration.
  enableServiceLinks: false
  {{- with .Values.image.pullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  # server.drain_delay (5 s), server.shutdown_grace (25 s), and what has begun to commit (10 s).
  terminationGracePeriodSeconds: 60
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile:
      type: RuntimeDefault
  {{- if include "wharf.isShared" . }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "wharf.selector" . | nindent 10 }}
  {{- end }}
  containers:
    - name: wharf
      image: {{ .Values.image.repository }}{{ if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [serve, --config, /etc/wharf/wharf.toml]
      env:
        {{- include "wharf.env" . | nindent 8 }}
      ports:
        - name: registry
          containerPort: 5000
        {{- if .Values.metrics.enabled }}
        - name: metrics
          containerPort: {{ .Values.metrics.port }}
        {{- end }}
      # A start may take over a database or look through one; /readyz says when it is done.
      startupProbe:
        {{- include "wharf.probe" (list . "/healthz") | nindent 8 }}
        periodSeconds: 5
        failureThreshold: 60
      livenessProbe:
        {{- include "wharf.probe" (list . "/healthz") | nindent 8 }}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        {{- include "wharf.probe" (list . "/readyz") | nindent 8 }}
        periodSeconds: 2
        timeoutSeconds: 2
        failureThreshold: 2
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      volumeMounts:
        - name: data
          mountPath: /data
        - name: tmp
          mountPath: /tmp
        - name: config
          mountPath: /etc/wharf
          readOnly: true
        {{- range (include "wharf.secrets" . | fromYamlArray) }}
        - name: {{ .name }}
          mountPath: {{ .path }}
          readOnly: true
        {{- end }}
  volumes:
    - name: tmp
      emptyDir: {}
    - name: config
      configMap:
        name: {{ include "wharf.name" . }}
    {{- range (include "wharf.secrets" . | fromYamlArray) }}
    - name: {{ .name }}
      secret:
        secretName: {{ .secret }}
        defaultMode: 0440
    {{- end }}
    {{- if include "wharf.isShared" . }}
    # The database and the bucket have everything; here are only snapshots while a backup is made.
    - name: data
      emptyDir: {}
    {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* What the chart decides by itself: the environment wins over the file. */}}
{{- define "wharf.env" -}}
- name: WHARF_DATA
  value: /data
- name: WHARF_LISTEN
  value: "[::]:5000"
{{- with .Values.externalUrl }}
- name: WHARF_SERVER__EXTERNAL_URL
  value: {{ . | quote }}
{{- end }}
{{- with .Values.ingress.trustedProxies }}
- name: WHARF_SERVER__TRUSTED_PROXIES
  value: {{ join "," . | quote }}
{{- end }}
{{- if .Values.metrics.enabled }}
- name: WHARF_SERVER__METRICS_LISTEN
  value: "[::]:{{ .Values.metrics.port }}"
{{- end }}
{{- if .Values.tls.secretName }}
- name: WHARF_TLS_CERTIFICATE
  value: /run/secrets/wharf/tls/tls.crt
- name: WHARF_TLS_KEY
  value: /run/secrets/wharf/tls/tls.key
{{- end }}
{{- with .Values.adminPasswordSecret }}
{{- if .name }}
- name: WHARF_ADMIN_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ .name }}
      key: {{ .key }}
{{- end }}
{{- end }}
{{- with .Values.postgres.urlSecret }}
{{- if .name }}
- name: WHARF_METADATA__URL
  valueFrom:
    secretKeyRef:
      name: {{ .name }}
      key: {{ .key }}
{{- end }}
{{- end }}
{{- with .Values.postgres.caSecret }}
{{- if .name }}
- name: WHARF_METADATA__CA_CERTIFICATE
  value: /run/secrets/wharf/postgres/{{ .key }}
{{- end }}
{{- end }}
{{- with .Values.s3 }}
{{- if .url }}
- name: WHARF_STORAGE__URL
  value: {{ .url | quote }}
{{- with .endpoint }}
- name: WHARF_STORAGE__ENDPOINT
  value: {{ . | quote }}
{{- end }}
{{- with .region }}
- name: WHARF_STORAGE__REGION
  value: {{ . | quote }}
{{- end }}
{{- if .credentialsSecret.name }}
- name: WHARF_STORAGE__CREDENTIALS_FILE
  value: /run/secrets/wharf/s3/{{ .credentialsSecret.key }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Secrets that are files: volume, secret, directory. */}}
{{- define "wharf.secrets" -}}
{{- $secrets := list }}
{{- with .Values.tls.secretName }}
{{- $secrets = append $secrets (dict "name" "tls" "secret" . "path" "/run/secrets/wharf/tls") }}
{{- end }}
{{- with .Values.postgres.caSecret.name }}
{{- $secrets = append $secrets (dict "name" "postgres-ca" "secret" . "path" "/run/secrets/wharf/postgres") }}
{{- end }}
{{- with .Values.s3.credentialsSecret.name }}
{{- $secrets = append $secrets (dict "name" "s3" "secret" . "path" "/run/secrets/wharf/s3") }}
{{- end }}
{{- toYaml $secrets }}
{{- end }}

{{- define "wharf.probe" -}}
{{- $root := index . 0 -}}
httpGet:
  path: {{ index . 1 }}
  port: registry
  {{- if $root.Values.tls.secretName }}
  scheme: HTTPS
  {{- end }}
{{- end }}
