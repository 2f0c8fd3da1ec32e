// Package api_test compares what the public packages export with the files beside it, so that a change of the API is seen in review.
package api_test

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/printer"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the files anew instead of comparing them")

const (
	root   = "../.."
	module = "github.com/bento-outbox/watermill-outbox"
	golden = "testdata"
)

// private are folders that nobody imports.
var private = []string{"internal", "cmd", "examples", "benchmarks", "tests", "testdata", "docs", "deploy", "scripts"}

func TestExportedNames(t *testing.T) {
	t.Parallel()
	files := map[string]string{}
	var total strings.Builder
	sum := 0
	for _, dir := range packages(t) {
		name, err := filepath.Rel(root, dir)
		require.NoError(t, err)
		text, names := exported(t, dir, strings.TrimSuffix(module+"/"+filepath.ToSlash(name), "/."))
		if names == 0 {
			continue
		}
		file := strings.ReplaceAll(filepath.ToSlash(name), "/", "-") + ".txt"
		if name == "." {
			file = "outbox.txt"
		}
		files[file] = text
		fmt.Fprintf(&total, "%4d %s\n", names, strings.TrimSuffix(file, ".txt"))
		sum += names
	}
	fmt.Fprintf(&total, "%4d in all\n", sum)
	files["total"] = total.String()

	if *update {
		require.NoError(t, os.RemoveAll(golden))
		require.NoError(t, os.Mkdir(golden, 0o750))
		for file, text := range files {
			require.NoError(t, os.WriteFile(filepath.Join(golden, file), []byte(text), 0o600))
		}
		return
	}
	const hint = "if the change is meant, run: cd tests && go test ./api -update"
	for file, text := range files {
		want, err := os.ReadFile(filepath.Join(golden, file))
		require.NoError(t, err, hint)
		assert.Equal(t, string(want), text, "%s: %s", file, hint)
	}
	entries, err := os.ReadDir(golden)
	require.NoError(t, err)
	for _, entry := range entries {
		assert.Contains(t, files, entry.Name(), "a package that is gone; %s", hint)
	}
}

// packages returns the folders of the public packages.
func packages(t *testing.T) (dirs []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		name := entry.Name()
		if path != root && (strings.HasPrefix(name, ".") || slices.Contains(private, name)) {
			return filepath.SkipDir
		}
		if sources, _ := filepath.Glob(filepath.Join(path, "*.go")); len(sources) > 0 {
			dirs = append(dirs, path)
		}
		return nil
	}))
	return dirs
}

// exported returns the declarations that the package in dir exports, and how many names at the top level they declare.
func exported(t *testing.T, dir, path string) (text string, names int) {
	t.Helper()
	set := token.NewFileSet()
	sources, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	var files []*ast.File
	for _, source := range sources {
		if strings.HasSuffix(source, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, source, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		files = append(files, file)
	}
	if len(files) == 0 || files[0].Name.Name == "main" {
		return "", 0
	}
	pkg, err := doc.NewFromFiles(set, files, path)
	require.NoError(t, err)
	var lines []string
	add := func(nodes ...ast.Node) {
		for _, node := range nodes {
			lines = append(lines, declaration(t, set, node))
		}
	}
	values := func(list []*doc.Value) {
		for _, v := range list {
			for _, spec := range v.Decl.Specs {
				for _, name := range spec.(*ast.ValueSpec).Names { //nolint:forcetypeassert // what a doc.Value has
					if name.IsExported() {
						names++
						lines = append(lines, v.Decl.Tok.String()+" "+name.Name)
					}
				}
			}
		}
	}
	functions := func(list []*doc.Func, counts bool) {
		for _, f := range list {
			if counts {
				names++
			}
			f.Decl.Body = nil
			add(f.Decl)
		}
	}
	values(pkg.Consts)
	values(pkg.Vars)
	functions(pkg.Funcs, true)
	for _, typ := range pkg.Types {
		names++
		add(typ.Decl)
		values(typ.Consts)
		values(typ.Vars)
		functions(typ.Funcs, true)
		functions(typ.Methods, false)
	}
	slices.Sort(lines)
	return fmt.Sprintf("package %s // import %q\n\n%s\n", pkg.Name, path, strings.Join(lines, "\n")), names
}

// declaration prints node without its comments, fields that are not exported, and lines that are left empty.
func declaration(t *testing.T, set *token.FileSet, node ast.Node) string {
	t.Helper()
	ast.Inspect(node, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			n.Doc = nil
		case *ast.GenDecl:
			n.Doc = nil
		case *ast.TypeSpec:
			n.Doc, n.Comment = nil, nil
		case *ast.Field:
			n.Doc, n.Comment = nil, nil
		}
		return true
	})
	var b bytes.Buffer
	require.NoError(t, (&printer.Config{Mode: printer.UseSpaces, Tabwidth: 4}).Fprint(&b, set, node))
	var lines []string
	for line := range strings.Lines(b.String()) {
		line = strings.TrimRight(line, " \n")
		if strings.TrimSpace(line) != "" {
			lines = append(lines, strings.Join(strings.Fields(line), " "))
		}
	}
	for i := 1; i < len(lines)-1; i++ {
		lines[i] = "    " + lines[i]
	}
	return strings.Join(lines, "\n")
}
