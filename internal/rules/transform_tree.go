package rules

import "github.com/bento-outbox/watermill-outbox/internal/rules/jsontext"

// tree is a set of paths, put together where they begin alike.
type tree struct {
	children []branch
	byName   map[string]*tree // of many children
	leaf     bool             // a path ends here
	value    string           // of a leaf: the new name, or the JSON to set
	indexed  bool             // a child is an index
	named    *tree            // the children that are no index; t itself when all are
}

type branch struct {
	segment
	*tree
}

// put adds path. One that goes on below the end of another is part of that.
func (t *tree) put(path []segment, value string) {
	for _, seg := range path {
		if t.leaf {
			return
		}
		next := t.child(seg.name)
		if next == nil {
			next = &tree{}
			t.attach(branch{seg, next})
		}
		t = next
	}
	*t = tree{leaf: true, value: value}
}

func (t *tree) attach(b branch) {
	t.children = append(t.children, b)
	if len(t.children) > 8 {
		if t.byName == nil {
			t.byName = make(map[string]*tree)
			for _, c := range t.children {
				t.byName[c.name] = c.tree
			}
		}
		t.byName[b.name] = b.tree
	}
	switch {
	case b.index >= 0:
		if !t.indexed && t.named == t { // so far there were only names
			t.named = &tree{}
			for _, c := range t.children[:len(t.children)-1] {
				t.named.attach(c)
			}
		}
		t.indexed = true
	case !t.indexed:
		t.named = t
	default:
		if t.named == nil {
			t.named = &tree{}
		}
		t.named.attach(b)
	}
}

// taken reports whether path ends in t, or a path of t ends on its way.
func (t *tree) taken(path []segment) bool {
	for _, seg := range path {
		if t = t.child(seg.name); t == nil {
			return false
		}
		if t.leaf {
			return true
		}
	}
	return true
}

func (t *tree) child(name string) *tree {
	if t.byName != nil {
		return t.byName[name]
	}
	for _, b := range t.children {
		if b.name == name {
			return b.tree
		}
	}
	return nil
}

// of returns what belongs to the member with this key, spelled as in JSON, or nil.
func (t *tree) of(key string) *tree {
	if t.byName != nil {
		return t.byName[jsontext.Unquote(key)]
	}
	for _, b := range t.children {
		if jsontext.Is(key, b.name) {
			return b.tree
		}
	}
	return nil
}

// element returns what belongs to element n of an array: what has its index, and the names when the element is an object.
func (t *tree) element(n int, raw string) (own, named *tree) {
	if t.indexed {
		for _, b := range t.children {
			if b.index == n {
				own = b.tree
			}
		}
	}
	if t.named == nil || jsontext.KindOf(raw) != jsontext.Object {
		return own, nil
	}
	return own, t.named
}

// size counts the branches of t.
func (t *tree) size() int {
	n := len(t.children)
	for _, b := range t.children {
		n += b.size()
	}
	return n
}

// merge returns a tree with the paths of both.
func merge(a, b *tree) *tree {
	if a.leaf || b.leaf {
		if a.leaf {
			return a
		}
		return b
	}
	both := &tree{}
	for _, child := range a.children {
		if other := b.child(child.name); other != nil {
			child.tree = merge(child.tree, other)
		}
		both.attach(child)
	}
	for _, child := range b.children {
		if a.child(child.name) == nil {
			both.attach(child)
		}
	}
	return both
}

// replaced returns the names in the object raw that make way, because a field that is there gets that name.
func (t *tree) replaced(raw string) map[string]bool {
	var names map[string]bool
	for it := jsontext.Members(raw); it.Next(); {
		if child := t.of(it.Key); child != nil && child.leaf {
			if names == nil {
				names = make(map[string]bool)
			}
			names[child.value] = true
		}
	}
	return names
}
