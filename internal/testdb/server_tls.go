package testdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// UseTLS restarts the server with a certificate of its own, each a PEM file. From then on it takes encrypted connections only, of clients that
// show a certificate of ca whose common name is the user's. [Server.DSN] does not connect any more.
func (s *Server) UseTLS(cert, key, ca []byte) {
	s.t.Helper()
	db, err := sql.Open("pgx", s.DSN())
	if err != nil {
		s.t.Fatal(err)
	}
	settings := map[string]string{"ssl": "on"}
	for name, pem := range map[string][]byte{"ssl_cert_file": cert, "ssl_key_file": key, "ssl_ca_file": ca} {
		file := filepath.Join(s.dir, name+".pem")
		s.write(file, pem)
		settings[name] = file
	}
	for name, value := range settings {
		if _, err := db.ExecContext(context.Background(), fmt.Sprintf("ALTER SYSTEM SET %s = '%s'", name, value)); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		s.t.Fatal(err)
	}
	s.write(filepath.Join(s.data, "pg_hba.conf"), []byte("hostssl all all 127.0.0.1/32 cert clientcert=verify-full\n"))
	s.Stop("fast")
	s.Start()
}

// Address returns where the server listens.
func (s *Server) Address() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// write makes a file that the server may read and nobody else.
func (s *Server) write(file string, content []byte) {
	s.t.Helper()
	from, err := os.CreateTemp("", "outbox-test-")
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = os.Remove(from.Name()) }()
	_, err = from.Write(content)
	if err := errors.Join(err, from.Chmod(0o644), from.Close()); err != nil {
		s.t.Fatal(err)
	}
	s.command("install", "-m", "600", from.Name(), file)
}
