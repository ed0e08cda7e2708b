package settings

import (
	"path/filepath"
	"strings"
	"testing"

	"netlab-runner/test/certificate"
)

// certificate writes a certificate of its own authority and its key.
func TestAPIFaults(t *testing.T) {
	t.Parallel()
	cert, key, _ := certificate.Make(t)
	_, otherKey, _ := certificate.Make(t)
	creds, empty := writeFile(t, "creds", "SUAEXAMPLE"), writeFile(t, "empty", "")
	missing := filepath.Join(t.TempDir(), "missing")
	tlsPair := []string{"NETLAB_API_TLS_CERT=" + cert, "NETLAB_API_TLS_KEY=" + key}

	for name, c := range map[string]struct {
		env  []string
		want []string
	}{
		"nothing":                 {nil, nil},
		"localhost":               {[]string{"NETLAB_API_BIND=localhost"}, nil},
		"IPv6 loopback":           {[]string{"NETLAB_API_BIND=[::1]"}, nil},
		"another loopback":        {[]string{"NETLAB_API_BIND=127.8.9.1"}, nil},
		"mapped loopback":         {[]string{"NETLAB_API_BIND=::ffff:127.0.0.1"}, nil},
		"open to all":             {[]string{"NETLAB_API_BIND=0.0.0.0"}, []string{"NETLAB_API_BIND: NETLAB_API_TOKEN", "NETLAB_API_BIND: NETLAB_API_TLS_CERT"}},
		"open to all by IPv6":     {[]string{"NETLAB_API_BIND=::"}, []string{"NETLAB_API_BIND: credentials", "NETLAB_API_BIND: TLS"}},
		"open by a name":          {[]string{"NETLAB_API_BIND=lab.example.org"}, []string{"NETLAB_API_BIND: credentials", "NETLAB_API_BIND: TLS"}},
		"open, a name with local": {[]string{"NETLAB_API_BIND=localhost.example.org"}, []string{"NETLAB_API_BIND: credentials", "NETLAB_API_BIND: TLS"}},
		"open, TLS alone":         {append([]string{"NETLAB_API_BIND=0.0.0.0"}, tlsPair...), []string{"NETLAB_API_BIND: credentials"}},
		"open, token alone":       {[]string{"NETLAB_API_BIND=0.0.0.0", "NETLAB_API_TOKEN=t"}, []string{"NETLAB_API_BIND: NETLAB_API_INSECURE"}},
		"open, insecure alone":    {[]string{"NETLAB_API_BIND=0.0.0.0", "NETLAB_API_INSECURE=true"}, []string{"NETLAB_API_BIND: credentials"}},
		"open, insecure false":    {[]string{"NETLAB_API_BIND=0.0.0.0", "NETLAB_API_INSECURE=false", "NETLAB_API_TOKEN=t"}, []string{"NETLAB_API_BIND: TLS"}},
		"open, insecure, token":   {[]string{"NETLAB_API_BIND=0.0.0.0", "NETLAB_API_INSECURE=true", "NETLAB_API_TOKEN=t"}, nil},
		"open, TLS, token":        {append([]string{"NETLAB_API_BIND=0.0.0.0", "NETLAB_API_TOKEN=t"}, tlsPair...), nil},
		"open, TLS, user":         {append([]string{"NETLAB_API_BIND=0.0.0.0", "NETLAB_API_USER=u", "NETLAB_API_PASSWORD=p"}, tlsPair...), nil},
		"bind with a port":        {[]string{"NETLAB_API_BIND=127.0.0.1:80", "NETLAB_API_TOKEN=t", "NETLAB_API_INSECURE=1"}, []string{"NETLAB_API_BIND: --port"}},
		"a free port":             {[]string{"NETLAB_API_PORT=0"}, nil},
		"the last port":           {[]string{"NETLAB_API_PORT=65535"}, nil},
		"past the last port":      {[]string{"NETLAB_API_PORT=65536"}, []string{"NETLAB_API_PORT: 65536 is no port"}},
		"negative port":           {[]string{"NETLAB_API_PORT=-1"}, []string{"NETLAB_API_PORT: -1 is no port"}},
		"port in words":           {[]string{"NETLAB_API_PORT=http"}, []string{`NETLAB_API_PORT: "http" is no whole number`}},
		"user alone":              {[]string{"NETLAB_API_USER=u"}, []string{"NETLAB_API_PASSWORD: NETLAB_API_USER is"}},
		"password alone":          {[]string{"NETLAB_API_PASSWORD=p"}, []string{"NETLAB_API_USER: NETLAB_API_PASSWORD is"}},
		"user with a colon":       {[]string{"NETLAB_API_USER=a:b", "NETLAB_API_PASSWORD=p"}, []string{"NETLAB_API_USER: ':'"}},
		"token with a space":      {[]string{"NETLAB_API_TOKEN=a b"}, []string{"NETLAB_API_TOKEN: Authorization"}},
		"token as base64":         {[]string{"NETLAB_API_TOKEN=aB/+9=="}, nil},
		"certificate alone":       {[]string{"NETLAB_API_TLS_CERT=" + cert}, []string{"NETLAB_API_TLS_KEY: set both"}},
		"key alone":               {[]string{"NETLAB_API_TLS_KEY=" + key}, []string{"NETLAB_API_TLS_CERT: set both"}},
		"another's key":           {[]string{"NETLAB_API_TLS_CERT=" + cert, "NETLAB_API_TLS_KEY=" + otherKey}, []string{"NETLAB_API_TLS_CERT: does not match"}},
		"no such certificate":     {[]string{"NETLAB_API_TLS_CERT=" + missing, "NETLAB_API_TLS_KEY=" + key}, []string{"NETLAB_API_TLS_CERT: no such file"}},
		"prefix with dots":        {[]string{"NETLAB_API_PREFIX=/a/../b"}, []string{"NETLAB_API_PREFIX: path prefix"}},
		"prefix as a pattern":     {[]string{"NETLAB_API_PREFIX=/:a"}, []string{"NETLAB_API_PREFIX: path prefix"}},
		"prefix with a gap":       {[]string{"NETLAB_API_PREFIX=/a//b"}, []string{"NETLAB_API_PREFIX: path prefix"}},
		"body limit in MB":        {[]string{"NETLAB_API_BODY_LIMIT=5MB"}, []string{"NETLAB_API_BODY_LIMIT: KiB"}},
		"bundles without an end":  {[]string{"NETLAB_API_BUNDLE_LIMIT=65MiB"}, []string{"NETLAB_API_BUNDLE_LIMIT: 1KiB to 64MiB"}},
		"bundles of nothing":      {[]string{"NETLAB_API_BUNDLE_LIMIT=0"}, []string{"NETLAB_API_BUNDLE_LIMIT: out of range"}},
		"the largest bundles":     {[]string{"NETLAB_API_BUNDLE_LIMIT=64MiB"}, nil},
		"body limit of nothing":   {[]string{"NETLAB_API_BODY_LIMIT=0"}, []string{"NETLAB_API_BODY_LIMIT: out of range"}},
		"no read timeout":         {[]string{"NETLAB_API_READ_TIMEOUT=0"}, []string{"NETLAB_API_READ_TIMEOUT: too short"}},
		"no write timeout":        {[]string{"NETLAB_API_WRITE_TIMEOUT=-1s"}, []string{"NETLAB_API_WRITE_TIMEOUT: too short"}},
		"little memory":           {[]string{"NETLAB_API_BODY_MEMORY=63MiB"}, []string{"NETLAB_API_BODY_MEMORY: NETLAB_API_BUNDLE_LIMIT, 64MiB"}},
		"enough memory":           {[]string{"NETLAB_API_BODY_MEMORY=64MiB"}, nil},
		"no connections":          {[]string{"NETLAB_API_CONNECTIONS=0"}, []string{"NETLAB_API_CONNECTIONS: out of range"}},
		"all from one client":     {[]string{"NETLAB_API_CONNECTIONS=10", "NETLAB_API_CLIENT_CONNECTIONS=10"}, nil},
		"more from one client":    {[]string{"NETLAB_API_CONNECTIONS=10", "NETLAB_API_CLIENT_CONNECTIONS=11"}, []string{"NETLAB_API_CLIENT_CONNECTIONS: NETLAB_API_CONNECTIONS (10)"}},
		"no idle timeout":         {[]string{"NETLAB_API_IDLE_TIMEOUT=0s"}, []string{"NETLAB_API_IDLE_TIMEOUT: too short"}},
		"a bare number of time":   {[]string{"NETLAB_API_IDLE_TIMEOUT=30"}, []string{"NETLAB_API_IDLE_TIMEOUT: no duration"}},
		"status output":           {[]string{"NETLAB_API_STATUS_OUTPUT=yaml"}, []string{"NETLAB_API_STATUS_OUTPUT: json or text"}},
		"log default":             {[]string{"NETLAB_API_LOG_DEFAULT=sse"}, []string{"NETLAB_API_LOG_DEFAULT: text or json"}},
		"jobs of a moment":        {[]string{"NETLAB_API_RETAIN_AGE=30s"}, []string{"NETLAB_API_RETAIN_AGE: 1m or more, or 0"}},
		"jobs of all time":        {[]string{"NETLAB_API_RETAIN_AGE=0", "NETLAB_API_RETAIN_JOBS=0"}, nil},
		"fewer jobs than none":    {[]string{"NETLAB_API_RETAIN_JOBS=-1"}, []string{"NETLAB_API_RETAIN_JOBS: 1 or more, or 0"}},
		"kept files":              {[]string{"NETLAB_API_KEEP=*.yml, config/**,**/*.cfg"}, nil},
		"kept files elsewhere":    {[]string{"NETLAB_API_KEEP=*.yml,/etc/*"}, []string{`NETLAB_API_KEEP: "/etc/*" is absolute`}},
		"kept files above":        {[]string{"NETLAB_API_KEEP=../*"}, []string{"NETLAB_API_KEEP: '..'"}},
		"kept files, no pattern":  {[]string{"NETLAB_API_KEEP=[a"}, []string{"NETLAB_API_KEEP: no pattern"}},
		"kept files, too many":    {[]string{"NETLAB_API_KEEP=" + strings.Repeat("a,", 51)}, []string{"NETLAB_API_KEEP: at most 50"}},
		"default host":            {[]string{"NETLAB_API_DEFAULT_HOST=a.b"}, []string{"NETLAB_API_DEFAULT_HOST: host name"}},
		"insecure in words":       {[]string{"NETLAB_API_INSECURE=perhaps"}, []string{`NETLAB_API_INSECURE: "perhaps"`}},

		"bus on loopback":          {[]string{"NETLAB_BUS_URL=nats://127.0.0.1:4222, localhost:4223,tls://[::1]:4224"}, nil},
		"bus far away":             {[]string{"NETLAB_BUS_URL=nats://bus.example.org"}, []string{"NETLAB_BUS_URL: NETLAB_BUS_CREDS"}},
		"bus far away, second":     {[]string{"NETLAB_BUS_URL=localhost,tls://u:p@a.example.org,b.example.org:1"}, []string{"NETLAB_BUS_URL: b.example.org:1"}},
		"bus far away, creds":      {[]string{"NETLAB_BUS_URL=bus.example.org", "NETLAB_BUS_CREDS=" + creds}, nil},
		"bus far away, user":       {[]string{"NETLAB_BUS_URL=nats://u:p@bus.example.org"}, nil},
		"bus far away, no user":    {[]string{"NETLAB_BUS_URL=nats://:@bus.example.org"}, []string{"NETLAB_BUS_URL: NETLAB_BUS_CREDS"}},
		"bus far away, token":      {[]string{"NETLAB_BUS_URL=nats://token@bus.example.org"}, nil},
		"bus by another scheme":    {[]string{"NETLAB_BUS_URL=http://localhost"}, []string{"NETLAB_BUS_URL: nats://"}},
		"bus without a host":       {[]string{"NETLAB_BUS_URL=nats://:4222"}, []string{"NETLAB_BUS_URL: entry 1"}},
		"credentials missing":      {[]string{"NETLAB_BUS_CREDS=" + missing}, []string{"NETLAB_BUS_CREDS: no such file"}},
		"credentials empty":        {[]string{"NETLAB_BUS_CREDS=" + empty}, []string{"NETLAB_BUS_CREDS: is empty"}},
		"credentials a directory":  {[]string{"NETLAB_BUS_CREDS=" + filepath.Dir(empty)}, []string{"NETLAB_BUS_CREDS: is a directory"}},
		"authority":                {[]string{"NETLAB_BUS_CA=" + cert}, nil},
		"authority without any":    {[]string{"NETLAB_BUS_CA=" + creds}, []string{"NETLAB_BUS_CA: no certificate"}},
		"lease too short":          {[]string{"NETLAB_BUS_LEASE=10ms"}, []string{"NETLAB_BUS_LEASE: 10ms is out of range"}},
		"API prefix with a star":   {[]string{"NETLAB_BUS_API_PREFIX=a.*"}, []string{"NETLAB_BUS_API_PREFIX: subject prefix"}},
		"inbox prefix with an end": {[]string{"NETLAB_BUS_INBOX_PREFIX=_INBOX."}, []string{"NETLAB_BUS_INBOX_PREFIX: subject prefix"}},
		"listen":                   {[]string{"NETLAB_BUS_LISTEN=127.0.0.1:0"}, nil},
		"listen to all":            {[]string{"NETLAB_BUS_LISTEN=0.0.0.0:4222"}, []string{"NETLAB_BUS_LISTEN: 127.0.0.1:4222"}},
		"listen to all in short":   {[]string{"NETLAB_BUS_LISTEN=:4222"}, []string{"NETLAB_BUS_LISTEN: 127.0.0.1:4222"}},
		"listen without a port":    {[]string{"NETLAB_BUS_LISTEN=127.0.0.1"}, []string{"NETLAB_BUS_LISTEN: 127.0.0.1:4222"}},
		"listen on a strange port": {[]string{"NETLAB_BUS_LISTEN=127.0.0.1:65536"}, []string{"NETLAB_BUS_LISTEN: no port"}},
		"listen beside a bus":      {[]string{"NETLAB_BUS_LISTEN=127.0.0.1:1", "NETLAB_BUS_URL=localhost"}, []string{"NETLAB_BUS_LISTEN: one of the two"}},
		"sync always":              {[]string{"NETLAB_BUS_SYNC=always"}, nil},
		"sync never":               {[]string{"NETLAB_BUS_SYNC=0s"}, []string{"NETLAB_BUS_SYNC: 'always'"}},
		"copies of nothing":        {[]string{"NETLAB_BUS_REPLICAS=0"}, []string{"NETLAB_BUS_REPLICAS: 1 to 5"}},
		"copies without a cluster": {[]string{"NETLAB_BUS_REPLICAS=3"}, []string{"NETLAB_BUS_REPLICAS: cluster"}},
		"copies in a cluster":      {[]string{"NETLAB_BUS_REPLICAS=3", "NETLAB_BUS_URL=localhost"}, nil},
		"streams of nothing": {
			[]string{"NETLAB_BUS_JOBS_BYTES=1", "NETLAB_BUS_LOGS_BYTES=2", "NETLAB_BUS_OBJECTS_BYTES=3"},
			[]string{"NETLAB_BUS_JOBS_BYTES: too small", "NETLAB_BUS_LOGS_BYTES: too small", "NETLAB_BUS_OBJECTS_BYTES: too small"},
		},
		"a worker's, without one":   {[]string{"NETLAB_WORKER_SLOTS=0", "NETLAB_WORKER_ROOTS=a"}, nil},
		"a worker's, unreadable":    {[]string{"NETLAB_WORKER_SLOTS=two"}, []string{"NETLAB_WORKER_SLOTS: whole number"}},
		"a worker's, with one":      {[]string{"NETLAB_WORKER_SLOTS=0", "NETLAB_API_WITH_WORKER=yes"}, []string{"NETLAB_WORKER_SLOTS: 1 to 1000"}},
		"unknown, and others too":   {[]string{"NETLAB_API_PROT=1", "NETLAB_API_IDLE_TIMEOUT=x", "NETLAB_API_USER=u"}, []string{"NETLAB_API_PROT: NETLAB_API_PORT", "NETLAB_API_IDLE_TIMEOUT: no duration", "NETLAB_API_PASSWORD: set both"}},
		"an empty unknown variable": {[]string{"NETLAB_API_PROT="}, nil},
		"variables of Netlab":       {[]string{"NETLAB_DEVICE=frr", "NETLAB_APIX=1"}, nil},
		"variables of the worker":   {[]string{"NETLAB_WORKER_CONFIG=x", "NETLAB_WORKER_HOST=h"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := parseAPI(t, given{env: c.env})
			wantFaults(t, err, c.want...)
		})
	}
}

func TestWorkerFaults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		env  []string
		want []string
	}{
		"nothing":                {nil, nil},
		"no bus":                 {[]string{"NETLAB_BUS_URL="}, []string{"NETLAB_BUS_URL: is not set"}},
		"commas for a bus":       {[]string{"NETLAB_BUS_URL=,"}, []string{"NETLAB_BUS_URL: is not set"}},
		"far away":               {[]string{"NETLAB_BUS_URL=bus.example.org"}, []string{"NETLAB_BUS_URL: NETLAB_BUS_CREDS"}},
		"host with a dot":        {[]string{"NETLAB_WORKER_HOST=a.b"}, []string{"NETLAB_WORKER_HOST: host name"}},
		"no roots":               {[]string{"NETLAB_WORKER_ROOTS= ,"}, []string{"NETLAB_WORKER_ROOTS: at least one"}},
		"relative roots":         {[]string{"NETLAB_WORKER_ROOTS=/a,b,c"}, []string{`NETLAB_WORKER_ROOTS: "b"`, `NETLAB_WORKER_ROOTS: "c"`}},
		"relative homes":         {[]string{"NETLAB_WORKER_HOMES=/home,h"}, []string{"NETLAB_WORKER_HOMES: absolute"}},
		"relative templates":     {[]string{"NETLAB_WORKER_TEMPLATES=t"}, []string{"NETLAB_WORKER_TEMPLATES: absolute"}},
		"a tiny log":             {[]string{"NETLAB_WORKER_LOG_LIMIT=1KiB"}, []string{"NETLAB_WORKER_LOG_LIMIT: use 64KiB or more"}},
		"any log":                {[]string{"NETLAB_WORKER_LOG_LIMIT=0"}, nil},
		"no slots":               {[]string{"NETLAB_WORKER_SLOTS=0"}, []string{"NETLAB_WORKER_SLOTS: out of range"}},
		"no time":                {[]string{"NETLAB_WORKER_TIMEOUT=0"}, []string{"NETLAB_WORKER_TIMEOUT: too short"}},
		"label without a value":  {[]string{"NETLAB_WORKER_LABELS=a=b,c"}, []string{"NETLAB_WORKER_LABELS: key=value"}},
		"label without a name":   {[]string{"NETLAB_WORKER_LABELS==b"}, []string{"NETLAB_WORKER_LABELS: name of a label"}},
		"label with an empty":    {[]string{"NETLAB_WORKER_LABELS=a="}, nil},
		"label too long":         {[]string{"NETLAB_WORKER_LABELS=a=" + strings.Repeat("x", 64)}, []string{"NETLAB_WORKER_LABELS: 64 bytes"}},
		"path as PATH":           {[]string{"NETLAB_WORKER_PATH=/a:/b"}, []string{"NETLAB_WORKER_PATH: ','"}},
		"path relative":          {[]string{"NETLAB_WORKER_PATH=a"}, []string{"NETLAB_WORKER_PATH: absolute"}},
		"networks":               {[]string{"NETLAB_WORKER_URL_NETWORKS=10.1.0.0/16, fd00::/8"}, nil},
		"an IPv4 one as IPv6":    {[]string{"NETLAB_WORKER_URL_NETWORKS=::ffff:10.1.0.0/112"}, []string{"NETLAB_WORKER_URL_NETWORKS: 10.1.0.0/16"}},
		"an address, no network": {[]string{"NETLAB_WORKER_URL_NETWORKS=10.1.0.1,fd00::/8,x/y"}, []string{`NETLAB_WORKER_URL_NETWORKS: "10.1.0.1"`, `NETLAB_WORKER_URL_NETWORKS: "x/y"`}},
		"the API's settings":     {[]string{"NETLAB_API_PORT=x", "NETLAB_BUS_LISTEN=nonsense", "NETLAB_BUS_SYNC=x"}, nil},
		"unknown, the API's":     {[]string{"NETLAB_API_PORTS=1"}, []string{"NETLAB_API_PORTS: NETLAB_API_PORT"}},
		"unknown, like no other": {[]string{"NETLAB_WORKER_QQQQQQQQ=1"}, []string{"NETLAB_WORKER_QQQQQQQQ: --help"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := parseWorker(t, given{env: append([]string{"NETLAB_BUS_URL=localhost"}, c.env...)})
			wantFaults(t, err, c.want...)
		})
	}
}

// A fault names the setting in all ways, and the line where the value came from the file.
func TestFaultText(t *testing.T) {
	t.Parallel()
	_, err := parseAPI(t, given{args: []string{"--port=99999"}})
	if got, want := err.Error(), "--port, NETLAB_API_PORT: 99999 is no port: use 1 to 65535, or 0 for a free one"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	_, err = parseAPI(t, given{file: "api:\n  port: 99999\n  user: u\n"})
	for _, want := range []string{"2 faults in the settings:\n  --port, NETLAB_API_PORT (", "settings.yml:2: api.port): 99999 is no port", "\n  --auth-password, NETLAB_API_PASSWORD: "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %q", want, err)
		}
	}
}

// Whatever is wrong, no secret is in the text about it.
func TestFaultsHoldNoSecret(t *testing.T) {
	t.Parallel()
	for _, env := range [][]string{
		{"NETLAB_API_TOKEN=hunter2 hunter2"},
		{"NETLAB_API_PASSWORD=hunter2"},
		{"NETLAB_BUS_URL=nats://u:hunter2/x@h"},
		{"NETLAB_BUS_URL=nats://u:hunter2%zz@h"},
		{"NETLAB_BUS_URL=http://u:hunter2@h"},
		{"NETLAB_BUS_URL=hunter2 hunter2:x"},
		{"NETLAB_API_TOKN=hunter2"},
	} {
		if _, err := parseAPI(t, given{env: env}); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v gives %v", env, err)
		}
	}
}
