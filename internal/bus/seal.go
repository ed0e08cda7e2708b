package bus

import (
	"encoding/json"
	"fmt"

	"github.com/nats-io/nkeys"

	"netlab-runner/internal/bus/seed"
)

// Sealed is text that only the host with the fitting key can read.
type Sealed struct {
	// Key is the public half of a curve key made for this message alone. Its private half is dropped, since it could
	// open what it sealed.
	Key  string `json:"key"`
	Data []byte `json:"data"`
}

// SealEnvironment seals the values to the host's public key.
func SealEnvironment(values map[string]string, hostKey string) (*Sealed, error) {
	text, err := json.Marshal(values)
	if err != nil {
		return nil, err
	}
	once, err := nkeys.CreateCurveKeys()
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	defer once.Wipe()
	s := &Sealed{}
	if s.Key, err = once.PublicKey(); err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	if s.Data, err = once.Seal(text, hostKey); err != nil {
		return nil, fmt.Errorf("seal to %q: %w", hostKey, err)
	}
	return s, nil
}

// sealedURL is the name of the one value in a sealed URL.
const sealedURL = "url"

// SealURL seals a URL to the host's public key.
func SealURL(url, hostKey string) (*Sealed, error) {
	return SealEnvironment(map[string]string{sealedURL: url}, hostKey)
}

// HostKey opens what was sealed to a host.
type HostKey struct{ pair nkeys.KeyPair }

// LoadHostKey reads the key in file, which it makes on first use, readable by its owner alone.
func LoadHostKey(file string) (*HostKey, error) {
	text, err := seed.LoadOrMake(file, nkeys.CreateCurveKeys, "")
	if err != nil {
		return nil, fmt.Errorf("host key: %w", err)
	}
	pair, err := nkeys.FromCurveSeed(text)
	if err != nil {
		return nil, fmt.Errorf("host key %s: %w; jobs sealed to it cannot run, remove the file to have a new one made", file, err)
	}
	return &HostKey{pair: pair}, nil
}

// Public is the half that goes into the lease.
func (k *HostKey) Public() (string, error) { return k.pair.PublicKey() }

// Open reads what SealEnvironment sealed; nil gives no values.
func (k *HostKey) Open(s *Sealed) (map[string]string, error) {
	if s == nil {
		return nil, nil
	}
	text, err := k.pair.Open(s.Data, s.Key)
	if err != nil {
		return nil, fmt.Errorf("it was sealed to another key than this host's: %w", err)
	}
	var values map[string]string
	if err := json.Unmarshal(text, &values); err != nil {
		return nil, fmt.Errorf("sealed environment: %w", err)
	}
	return values, nil
}

// OpenURL reads what SealURL sealed; nil gives none.
func (k *HostKey) OpenURL(s *Sealed) (string, error) {
	values, err := k.Open(s)
	return values[sealedURL], err
}
