package adapters

import (
	"crypto/tls"
	"crypto/x509"
	"os"
)

// TLS reads the options of an encrypted connection: tls_ca, a file of certificates to trust instead of the system's;
// tls_cert and tls_key, the files of a client certificate and its key. It returns nil when none of them is set. The
// server's name is left for the driver to fill in.
func (o *Options) TLS() *tls.Config {
	ca, cert, key := o.String("tls_ca", ""), o.String("tls_cert", ""), o.String("tls_key", "")
	if ca == "" && cert == "" && key == "" {
		return nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		cfg.RootCAs = x509.NewCertPool()
		if pem, err := os.ReadFile(ca); err != nil {
			o.Fail("option tls_ca: %w", err)
		} else if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			o.Fail("option tls_ca: no PEM certificate in %s", ca)
		}
	}
	switch {
	case cert == "" && key == "":
	case cert == "" || key == "":
		o.Fail("options tls_cert and tls_key: one without the other")
	default:
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			o.Fail("options tls_cert and tls_key: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg
}
