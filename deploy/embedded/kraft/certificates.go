package kraft

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Certificates are those of a cluster, as PEM files.
type Certificates struct {
	CA                    string // who signed the others
	ClientCert, ClientKey string // what the MTLS listener takes
	StrangerCert          string // signed by nobody that the brokers know
	StrangerKey           string
	StrangerCA            string

	broker string // the brokers' key and chain
}

// makeCertificates makes an authority, the brokers' certificate, a client's, and a stranger's.
func makeCertificates(dir string) (Certificates, error) {
	in := func(name string) string { return filepath.Join(dir, name) }
	c := Certificates{CA: in("ca.pem"), ClientCert: in("client.pem"), ClientKey: in("client-key.pem"), StrangerCert: in("stranger.pem"),
		StrangerKey: in("stranger-key.pem"), StrangerCA: in("stranger-ca.pem"), broker: in("broker.pem")}
	ours, err := newAuthority("Astray tests")
	if err != nil {
		return c, err
	}
	theirs, err := newAuthority("Somebody else")
	if err != nil {
		return c, err
	}
	brokerCert, brokerKey, err := ours.issue("broker")
	if err != nil {
		return c, err
	}
	clientCert, clientKey, err := ours.issue("astray")
	if err != nil {
		return c, err
	}
	strangerCert, strangerKey, err := theirs.issue("astray")
	if err != nil {
		return c, err
	}
	for name, text := range map[string][]byte{
		c.CA: ours.pem, c.StrangerCA: theirs.pem, c.ClientCert: clientCert, c.ClientKey: clientKey, c.StrangerCert: strangerCert, c.StrangerKey: strangerKey,
		c.broker: bytes.Join([][]byte{brokerKey, brokerCert, ours.pem}, nil),
	} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			return c, err
		}
	}
	return c, nil
}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(name string) (*authority, error) {
	a := &authority{}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, t, t, a.key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	a.cert, err = x509.ParseCertificate(der)
	return a, err
}

// issue signs a certificate for loopback, for both sides of a connection.
func (a *authority) issue(name string) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, nil, err
	}
	t := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, private.Public(), a.key)
	if err != nil {
		return nil, nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, fmt.Errorf("key of %s: %w", name, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), nil
}
