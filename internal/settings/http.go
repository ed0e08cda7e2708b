package settings

import (
	"crypto/tls"
	"net/netip"
	"regexp"
	"strings"
	"time"
)

var (
	hostName    = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$`)
	pathPrefix  = regexp.MustCompile(`^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*$`)
	bearerToken = regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`)
)

// HTTP is what the API's listener is and who may speak to it.
type HTTP struct {
	// Bind is the address to listen on, an IP address or a name. One beyond loopback needs credentials and TLS.
	// Defaults to 127.0.0.1.
	Bind string `default:"127.0.0.1" help:"Address to listen on; beyond loopback it needs credentials and TLS." important:"" placeholder:"ADDRESS" variable:"NETLAB_API_BIND"`

	// Port is the port to listen on; 0 takes a free one. Defaults to 8090.
	Port int `default:"8090" help:"Port to listen on; 0 takes a free one." important:"" placeholder:"PORT" variable:"NETLAB_API_PORT"`

	// User is the name of the one Basic user, set together with Password. Defaults to none.
	User string `help:"Name of the user who may use the API (Basic)." name:"auth-user" placeholder:"NAME" variable:"NETLAB_API_USER"`

	// Password is User's. Defaults to none.
	Password string `help:"Password of that user. Other users of the machine can read flags: prefer the variable." name:"auth-password" placeholder:"TEXT" secret:"" variable:"NETLAB_API_PASSWORD"`

	// Token is the bearer token that may use the API, beside User or alone. Defaults to none.
	Token string `help:"Bearer token that may use the API. Other users of the machine can read flags: prefer the variable." placeholder:"TEXT" secret:"" variable:"NETLAB_API_TOKEN"`

	// TLSCert is a PEM file with the server's certificate and what leads to its authority, set together with TLSKey.
	// Defaults to none: plain HTTP.
	TLSCert string `help:"PEM file with the certificate of the server, and those that lead to its authority." name:"tls-cert" placeholder:"FILE" variable:"NETLAB_API_TLS_CERT"`

	// TLSKey is a PEM file with the key of TLSCert. Defaults to none.
	TLSKey string `help:"PEM file with the key of that certificate." name:"tls-key" placeholder:"FILE" variable:"NETLAB_API_TLS_KEY"`

	// Insecure says that TLS ends elsewhere, so that a listener beyond loopback may speak plain HTTP. Defaults to false.
	Insecure bool `help:"TLS ends elsewhere: allow plain HTTP beyond loopback. Credentials are needed all the same." variable:"NETLAB_API_INSECURE"`

	// Prefix is the path that every route stands below, once parsed "" or such as "/netlab". Defaults to none.
	Prefix string `help:"Path that every route stands below, such as /netlab." placeholder:"PATH" variable:"NETLAB_API_PREFIX"`

	// BodyLimit is the size of the largest JSON body, in bytes. Defaults to 8 MiB.
	BodyLimit Size `default:"8MiB" help:"Size of the largest JSON body of a request." placeholder:"SIZE" variable:"NETLAB_API_BODY_LIMIT"`

	// BundleLimit is the size of the largest multipart body, which has a job and its bundle, in bytes. Defaults to 32 MiB.
	BundleLimit Size `default:"32MiB" help:"Size of the largest multipart body: a job with the archive of its lab's files." placeholder:"SIZE" variable:"NETLAB_API_BUNDLE_LIMIT"`

	// BodyMemory bounds the memory for bodies of more than 64 KiB that arrive at once, in bytes; each counts twice. Defaults
	// to 256 MiB.
	BodyMemory Size `default:"256MiB" help:"Memory for bodies of more than 64KiB that arrive at once, each counted twice." placeholder:"SIZE" variable:"NETLAB_API_BODY_MEMORY"`

	// Connections is how many connections there may be. Defaults to 4096.
	Connections int `default:"4096" help:"How many connections there may be." placeholder:"NUMBER" variable:"NETLAB_API_CONNECTIONS"`

	// ClientConnections is how many of them may be of one address, 0 for half of them. Defaults to 0.
	ClientConnections int `default:"0" defaulttext:"half of the connections" help:"How many connections there may be from one address (of IPv6, from one /64 network); set it to --connections where a proxy is in front." placeholder:"NUMBER" variable:"NETLAB_API_CLIENT_CONNECTIONS"`

	// ReadTimeout is how long a request may take to arrive, and of a body of more than 1 MiB each further MiB. Defaults to 30 s.
	ReadTimeout time.Duration `default:"30s" help:"How long a request may take to arrive, and of a larger body each further MiB." placeholder:"DURATION" variable:"NETLAB_API_READ_TIMEOUT"`

	// WriteTimeout is how long a client may take for each 64 KiB of an answer. Defaults to 1 min.
	WriteTimeout time.Duration `default:"1m" help:"How long a client may take for each 64KiB of an answer." placeholder:"DURATION" variable:"NETLAB_API_WRITE_TIMEOUT"`

	// IdleTimeout is how long a connection without a request is kept. Defaults to 5 s.
	IdleTimeout time.Duration `default:"5s" help:"How long a connection without a request is kept." placeholder:"DURATION" variable:"NETLAB_API_IDLE_TIMEOUT"`
}

// Credentials says whether a client has to say who it is.
func (h *HTTP) Credentials() bool {
	return h.Token != "" || (h.User != "" && h.Password != "")
}

// TLS says whether the listener speaks TLS.
func (h *HTTP) TLS() bool {
	return h.TLSCert != "" && h.TLSKey != ""
}

func (h *HTTP) complete() {
	// People write an IPv6 address as in a URL, too.
	h.Bind = strings.Trim(h.Bind, "[]")
	if trimmed := strings.Trim(h.Prefix, "/"); trimmed == "" {
		h.Prefix = ""
	} else {
		h.Prefix = "/" + trimmed
	}
}

func (h *HTTP) validate() []Fault {
	var faults []Fault
	if _, err := netip.ParseAddr(h.Bind); err != nil && !hostName.MatchString(h.Bind) {
		faults = append(faults, faultf("NETLAB_API_BIND", "%q is no address: use an IP address or a name alone, the port has a setting of its own (--port, NETLAB_API_PORT)", h.Bind))
	}
	if h.Port < 0 || h.Port > 65535 {
		faults = append(faults, faultf("NETLAB_API_PORT", "%d is no port: use 1 to 65535, or 0 for a free one", h.Port))
	}
	if !pathPrefix.MatchString(h.Prefix) {
		faults = append(faults, faultf("NETLAB_API_PREFIX", "%q is no path prefix: use words of letters, digits, '.', '_', '~' and '-' with one '/' between them, none beginning with '.'", h.Prefix))
	}
	if h.BodyLimit < 1<<10 || h.BodyLimit > 1<<30 {
		faults = append(faults, faultf("NETLAB_API_BODY_LIMIT", "%v is out of range: use 1KiB to 1GiB", h.BodyLimit))
	}
	if h.BundleLimit < 1<<10 || h.BundleLimit > 64<<20 {
		faults = append(faults, faultf("NETLAB_API_BUNDLE_LIMIT", "%v is out of range: use 1KiB to 64MiB", h.BundleLimit))
	}
	faults = append(faults, h.validateLimits()...)
	faults = append(faults, h.validateCredentials()...)
	faults = append(faults, h.validateTLS()...)
	return append(faults, h.validateExposure()...)
}

func (h *HTTP) validateLimits() []Fault {
	var faults []Fault
	// A body is in memory twice while it becomes a job.
	if least := 2 * max(h.BodyLimit, h.BundleLimit); h.BodyMemory < least || h.BodyMemory > 1<<40 {
		faults = append(faults, faultf("NETLAB_API_BODY_MEMORY", "%v is out of range: use twice the larger of NETLAB_API_BODY_LIMIT and NETLAB_API_BUNDLE_LIMIT, %v, to 1TiB", h.BodyMemory, least))
	}
	if h.Connections < 1 || h.Connections > 1_000_000 {
		faults = append(faults, faultf("NETLAB_API_CONNECTIONS", "%d is out of range: use 1 to 1000000", h.Connections))
	}
	if h.ClientConnections < 0 || h.ClientConnections > h.Connections {
		faults = append(faults, faultf("NETLAB_API_CLIENT_CONNECTIONS", "%d is out of range: use 1 to NETLAB_API_CONNECTIONS (%d), or 0 for half of them", h.ClientConnections, h.Connections))
	}
	for _, timeout := range []struct {
		variable string
		value    time.Duration
		common   string
	}{
		{"NETLAB_API_READ_TIMEOUT", h.ReadTimeout, "30s"},
		{"NETLAB_API_WRITE_TIMEOUT", h.WriteTimeout, "1m"},
		{"NETLAB_API_IDLE_TIMEOUT", h.IdleTimeout, "5s"},
	} {
		if timeout.value <= 0 {
			faults = append(faults, faultf(timeout.variable, "%s is too short: use a time above 0, such as %s", duration(timeout.value), timeout.common))
		}
	}
	return faults
}

func (h *HTTP) validateCredentials() []Fault {
	var faults []Fault
	switch {
	case h.User != "" && h.Password == "":
		faults = append(faults, faultf("NETLAB_API_PASSWORD", "is not set, but NETLAB_API_USER is: set both, or neither"))
	case h.User == "" && h.Password != "":
		faults = append(faults, faultf("NETLAB_API_USER", "is not set, but NETLAB_API_PASSWORD is: set both, or neither"))
	}
	if strings.Contains(h.User, ":") {
		faults = append(faults, faultf("NETLAB_API_USER", "holds a ':', which HTTP's Basic credentials cannot carry in a name: choose another"))
	}
	if h.Token != "" && !bearerToken.MatchString(h.Token) {
		faults = append(faults, faultf("NETLAB_API_TOKEN", "holds a character that an Authorization header cannot carry: use letters, digits and -._~+/, with '=' at the end at most"))
	}
	return faults
}

func (h *HTTP) validateTLS() []Fault {
	switch {
	case h.TLSCert == "" && h.TLSKey == "":
		return nil
	case h.TLSKey == "":
		return []Fault{faultf("NETLAB_API_TLS_KEY", "is not set, but NETLAB_API_TLS_CERT is: set both, or neither")}
	case h.TLSCert == "":
		return []Fault{faultf("NETLAB_API_TLS_CERT", "is not set, but NETLAB_API_TLS_KEY is: set both, or neither")}
	}
	if _, err := tls.LoadX509KeyPair(h.TLSCert, h.TLSKey); err != nil {
		return []Fault{faultf("NETLAB_API_TLS_CERT", "cannot be used with NETLAB_API_TLS_KEY: %v: name PEM files of a certificate and its key that this user can read", err)}
	}
	return nil
}

// CheckAddress is the rule for Bind, for a listener that was opened by somebody else at that IP address. An *Invalid names what
// it needs.
func (h *HTTP) CheckAddress(address string) error {
	other := *h
	other.Bind = address
	if faults := other.validateExposure(); len(faults) > 0 {
		return &Invalid{Faults: faults}
	}
	return nil
}

// validateExposure refuses a listener that others can reach and that nothing guards.
func (h *HTTP) validateExposure() []Fault {
	if loopback(h.Bind) {
		return nil
	}
	var faults []Fault
	if !h.Credentials() {
		faults = append(faults, faultf("NETLAB_API_BIND", "%s can be reached from other machines, which needs credentials: set NETLAB_API_TOKEN, or NETLAB_API_USER and NETLAB_API_PASSWORD, or bind to 127.0.0.1", h.Bind))
	}
	if !h.Insecure && h.TLSCert == "" && h.TLSKey == "" {
		faults = append(faults, faultf("NETLAB_API_BIND", "%s can be reached from other machines, which needs TLS: set NETLAB_API_TLS_CERT and NETLAB_API_TLS_KEY, or NETLAB_API_INSECURE=true where TLS ends elsewhere, or bind to 127.0.0.1", h.Bind))
	}
	return faults
}

// loopback says whether only this machine reaches host, an IP address or a name. Any name but localhost may mean anything.
func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
