package event

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash/maphash"
	"strings"
	"sync/atomic"
)

// FingerprintPrefix starts every fingerprint, and tells one from a value that is still to be looked at.
const FingerprintPrefix = "fp_"

const fingerprintLen = len(FingerprintPrefix) + 32

// defaultKey keys fingerprints where none is configured. It is public: it keeps fingerprints from being looked up in
// tables of plain hashes, but only a key of one's own keeps them from being tried out against guesses.
const defaultKey = "astray fingerprint key, version 1"

// Redactor replaces secrets in events by fingerprints: a keyed hash (HMAC-SHA256, 128 bits) of the secret alone, so
// that one secret has one fingerprint wherever it turns up. It is safe for concurrent use. A nil Redactor works,
// with a key that is the same everywhere.
//
// What is a secret is said by the rules of gitleaks (rules.go) and a few of Astray's own (secrets.go).
type Redactor struct {
	key  []byte
	seed maphash.Seed
	// ids are ids of credentials that were looked at and are no secrets, each where its hash says: a fleet has few and
	// uses them in every event.
	ids [cleanIDs]atomic.Pointer[string]
}

const (
	cleanIDs   = 1 << 12
	maxCleanID = 128 // bytes; longer ones are looked at each time
)

// NewRedactor returns a Redactor whose fingerprints are keyed with key, or with the default key if it is empty.
// Instances that share a stream share the key, or the same secret has two fingerprints.
func NewRedactor(key []byte) *Redactor {
	return &Redactor{key: append([]byte(nil), key...), seed: maphash.MakeSeed()}
}

// credential is credentialSecret, which it asks about an id it does not know.
func (r *Redactor) credential(id string) (rule, secret string) {
	if r == nil || len(id) > maxCleanID {
		return credentialSecret(id)
	}
	slot := &r.ids[maphash.String(r.seed, id)%cleanIDs]
	if known := slot.Load(); known != nil && *known == id {
		return "", ""
	}
	if rule, secret = credentialSecret(id); rule == "" {
		clean := strings.Clone(id)
		slot.Store(&clean)
	}
	return rule, secret
}

// Fingerprint returns the keyed hash that stands for secret.
func (r *Redactor) Fingerprint(secret string) string {
	key := []byte(defaultKey)
	if r != nil && len(r.key) > 0 {
		key = r.key
	}
	h := hmac.New(sha256.New, key)
	h.Write([]byte(secret))
	return FingerprintPrefix + hex.EncodeToString(h.Sum(nil)[:16])
}

// Redact replaces the secrets in e and lists what it replaced in e.Secrets.
//
// In content, resource, destination and the values of labels each secret becomes "[secret:rule:fingerprint]". A
// credential_id that holds a secret becomes the fingerprint as a whole, so that it equals that of the same
// secret leaked in a post; ids of AWS access keys are ids and stay as they are there.
func (r *Redactor) Redact(e *Event) {
	if e.CredentialID != "" {
		if rule, secret := r.credential(e.CredentialID); rule != "" {
			e.CredentialID = r.Fingerprint(secret)
			e.Secrets = append(e.Secrets, Secret{"credential_id", rule, e.CredentialID})
		}
	}
	e.Resource = r.text("resource", e.Resource, &e.Secrets)
	e.Destination = r.text("destination", e.Destination, &e.Secrets)
	e.Content = r.text("content", e.Content, &e.Secrets)
	for i := range e.Labels {
		l := &e.Labels[i]
		if rule := labelSecret(l.Key, l.Value); rule != "" {
			fp := r.Fingerprint(l.Value)
			l.Value = marker(rule, fp)
			e.Secrets = append(e.Secrets, Secret{"labels", rule, fp})
			continue
		}
		l.Value = r.text("labels", l.Value, &e.Secrets)
		// A key is the producer's word, but under a hostile producer it can be anything.
		l.Key = r.text("labels", l.Key, &e.Secrets)
	}
}

// Bytes returns raw with its secrets replaced, for what is kept of a message that is no event. It returns raw
// itself when there are none.
func (r *Redactor) Bytes(raw []byte) []byte {
	text := string(raw)
	var found []Secret
	if out := r.text("", text, &found); len(found) > 0 {
		return []byte(out)
	}
	return raw
}

// Text returns text with its secrets replaced, and what was found, named as standing in field.
func (r *Redactor) Text(field, text string) (string, []Secret) {
	var found []Secret
	out := r.text(field, text, &found)
	return out, found
}

func (r *Redactor) text(field, text string, found *[]Secret) string {
	if !suspicious(text) {
		return text
	}
	spans := secretsIn(text, false)
	if len(spans) == 0 {
		return text
	}
	var out strings.Builder
	out.Grow(len(text) + 64)
	last := 0
	for _, s := range spans {
		fp := r.Fingerprint(text[s.from:s.to])
		*found = append(*found, Secret{field, s.rule, fp})
		out.WriteString(text[last:s.from])
		out.WriteString(marker(s.rule, fp))
		last = s.to
	}
	out.WriteString(text[last:])
	return out.String()
}

func marker(rule, fingerprint string) string { return "[secret:" + rule + ":" + fingerprint + "]" }
