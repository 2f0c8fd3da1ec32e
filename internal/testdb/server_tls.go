package testdb

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
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
		file := filepath.Join(s.server.Dir, name+".pem")
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
	s.write(filepath.Join(s.server.Data(), "pg_hba.conf"), []byte("hostssl all all 127.0.0.1/32 cert clientcert=verify-full\n"))
	s.Stop("fast")
	s.Start()
}

// write makes a file that the server may read and nobody else.
func (s *Server) write(file string, content []byte) {
	s.t.Helper()
	cmd := s.server.AsOwner("sh", "-c", `umask 077; exec cat >"$0"`, file)
	cmd.Stdin = bytes.NewReader(content)
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("write %s: %v\n%s", file, err, out)
	}
}
