package settings

import (
	"crypto/x509"
	"errors"
	"io"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

var subjectPrefix = regexp.MustCompile(`^[^\s.*>]+(\.[^\s.*>]+)*$`)

// Bus is how a program reaches the bus.
type Bus struct {
	// URLs are the servers of the bus: nats, tls, ws or wss URLs. One that is not on loopback needs credentials.
	// Defaults to none: netlab-api then runs a server of its own, netlab-worker does not start.
	URLs []string `defaulttext:"none, netlab-api then runs a server of its own, and netlab-worker does not start" help:"Servers of the bus. One beyond loopback needs credentials." important:"" name:"bus-url" placeholder:"URL,..." secret:"" variable:"NETLAB_BUS_URL"`

	// Creds is a file with the credentials for the bus: a .creds file, or one with a bare nkey seed. Defaults to none.
	Creds string `help:"File with the credentials for the bus: a .creds file, or one with an nkey seed." name:"bus-creds" placeholder:"FILE" variable:"NETLAB_BUS_CREDS"`

	// CA is a PEM file with the authority that signed the servers' certificates. Defaults to none: the system's.
	CA string `defaulttext:"the system's" help:"PEM file with the authority of the servers' certificates." name:"bus-ca" placeholder:"FILE" variable:"NETLAB_BUS_CA"`

	// Lease is how long a worker counts as online after its last sign of life; the same for all programs on one bus.
	// Defaults to 15 s.
	Lease time.Duration `default:"15s" help:"How long a worker counts as online after its last sign of life; the same for all programs." name:"bus-lease" placeholder:"DURATION" variable:"NETLAB_BUS_LEASE"`

	// APIPrefix is the subject prefix of JetStream's own requests. Defaults to $JS.API.
	APIPrefix string `default:"$$JS.API" help:"Subject prefix of JetStream's own requests, where the account imports it under another." name:"bus-api-prefix" placeholder:"SUBJECT" variable:"NETLAB_BUS_API_PREFIX"`

	// InboxPrefix is the subject prefix that replies come to. Defaults to _INBOX.
	InboxPrefix string `default:"_INBOX" help:"Subject prefix that replies come to." name:"bus-inbox-prefix" placeholder:"SUBJECT" variable:"NETLAB_BUS_INBOX_PREFIX"`
}

func (b *Bus) complete() { b.URLs = trimmed(b.URLs) }

func (b *Bus) validate() []Fault {
	var faults []Fault
	for i, text := range b.URLs {
		faults = append(faults, b.validateURL(i, text)...)
	}
	if b.Creds != "" {
		if err := readable(b.Creds); err != nil {
			faults = append(faults, faultf("NETLAB_BUS_CREDS", "%v: name a file of credentials that this user can read", err))
		}
	}
	if b.CA != "" {
		if err := readableAuthority(b.CA); err != nil {
			faults = append(faults, faultf("NETLAB_BUS_CA", "%v: name a PEM file of certificates that this user can read", err))
		}
	}
	if b.Lease < time.Second || b.Lease > 10*time.Minute {
		faults = append(faults, faultf("NETLAB_BUS_LEASE", "%s is out of range: use 1s to 10m", duration(b.Lease)))
	}
	if !subjectPrefix.MatchString(b.APIPrefix) {
		faults = append(faults, faultf("NETLAB_BUS_API_PREFIX", "%q is no subject prefix: use words with '.' between them, without spaces, '*' and '>'", b.APIPrefix))
	}
	if !subjectPrefix.MatchString(b.InboxPrefix) {
		faults = append(faults, faultf("NETLAB_BUS_INBOX_PREFIX", "%q is no subject prefix: use words with '.' between them, without spaces, '*' and '>'", b.InboxPrefix))
	}
	return faults
}

func (b *Bus) validateURL(i int, text string) []Fault {
	u, err := parseBusURL(text)
	if err != nil {
		// The parser's error quotes what it read, which may be a password: the place must do.
		return []Fault{faultf("NETLAB_BUS_URL", "entry %d is no URL of a bus: write it like nats://host:4222, with %%-escapes for special characters of a user or password", i+1)}
	}
	if !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
		return []Fault{faultf("NETLAB_BUS_URL", "entry %d begins with %q: use nats://, tls://, ws:// or wss://", i+1, u.Scheme)}
	}
	if !loopback(u.Hostname()) && b.Creds == "" && u.User.Username() == "" {
		return []Fault{faultf("NETLAB_BUS_URL", "%s is not on this machine, which needs credentials: set NETLAB_BUS_CREDS (--bus-creds) to a file with them", u.Host)}
	}
	return nil
}

// parseBusURL reads one entry of the setting; a bare host:port is a nats URL.
func parseBusURL(text string) (*url.URL, error) {
	if !strings.Contains(text, "://") {
		text = "nats://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, err
	}
	if u.Hostname() == "" {
		return nil, errors.New("no host")
	}
	return u, nil
}

// maskURL replaces the user part of a bus URL.
func maskURL(text string) string {
	u, err := parseBusURL(text)
	if err != nil {
		return mask
	}
	if u.User == nil {
		return text
	}
	u.User = nil
	return strings.Replace(u.String(), "://", "://"+mask+"@", 1)
}

func readable(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Read(make([]byte, 1)); errors.Is(err, io.EOF) {
		return errors.New(path + " is empty")
	} else if err != nil {
		return err
	}
	return nil
}

func readableAuthority(path string) error {
	pem, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		return errors.New(path + " holds no certificate")
	}
	return nil
}
