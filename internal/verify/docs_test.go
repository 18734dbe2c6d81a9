package verify

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// withoutFunction are the rows, or conditions of them, that no function holds.
var withoutFunction = map[string]string{
	"T21 true": "nothing looks at these fields, and tests show it",
}

// docLine is a line of the tables in docs/verification.md.
type docLine struct {
	row                 int
	condition, function string
	reasons             []string
}

var (
	backticked = regexp.MustCompile("`([^`]+)`")
	docRow     = regexp.MustCompile(`^\| (\d+) \|`)
)

func readDoc(t *testing.T) (lines []docLine) {
	t.Helper()
	b, err := os.ReadFile("../../docs/verification.md")
	if err != nil {
		t.Fatal(err)
	}
	for text := range strings.Lines(string(b)) {
		m := docRow.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		row, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		cells := strings.Split(strings.TrimSpace(text), "|")
		cells = cells[1 : len(cells)-1]
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		l := docLine{row: row, condition: cells[2], function: cells[len(cells)-1]}
		if len(cells) == 7 {
			for _, r := range backticked.FindAllStringSubmatch(cells[5], -1) {
				l.reasons = append(l.reasons, r[1])
			}
		}
		lines = append(lines, l)
	}
	return lines
}

// functions returns the names of a package's functions and methods, without receivers,
// and its files.
func functions(t *testing.T, dir string) (map[string]bool, []*ast.File) {
	t.Helper()
	names := map[string]bool{}
	var files []*ast.File
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		files = append(files, f)
		for _, decl := range f.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok {
				names[fn.Name.Name] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names, files
}

func TestEveryRowNamesAFunctionThatExists(t *testing.T) {
	packages := map[string]map[string]bool{}
	seen := map[int]bool{}
	unused := map[string]bool{}
	for k := range withoutFunction {
		unused[k] = true
	}
	for _, l := range readDoc(t) {
		seen[l.row] = true
		named := backticked.FindAllStringSubmatch(l.function, -1)
		if len(named) == 0 {
			key := "T" + strconv.Itoa(l.row) + " " + l.condition
			if withoutFunction[key] == "" {
				t.Errorf("%s: no function, and no reason why", key)
			}
			delete(unused, key)
		}
		for _, n := range named {
			pkg, fn, _ := strings.Cut(n[1], ".")
			if packages[pkg] == nil {
				packages[pkg], _ = functions(t, filepath.Join("..", pkg))
			}
			if !packages[pkg][fn] {
				t.Errorf("T%d names %s, which does not exist", l.row, n[1])
			}
		}
	}
	for row := 1; row <= 38; row++ {
		if !seen[row] {
			t.Errorf("T%d is not on the page", row)
		}
	}
	for k := range unused {
		t.Errorf("%q is excused but not on the page", k)
	}
}

// Each drop(row, reason, …) and ignore(row, reason, …) of this package stands on the
// page under its row, and the page invents none.
func TestEveryReasonIsOnThePage(t *testing.T) {
	type reason struct {
		row  int
		name string
	}
	onPage, inCode := map[reason]bool{}, map[reason]bool{}
	for _, l := range readDoc(t) {
		for _, r := range l.reasons {
			onPage[reason{l.row, r}] = true
		}
	}
	_, files := functions(t, ".")
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 3 {
				return true
			}
			if fn, ok := call.Fun.(*ast.Ident); !ok || fn.Name != "drop" && fn.Name != "ignore" {
				return true
			}
			row, ok1 := call.Args[0].(*ast.BasicLit)
			name, ok2 := call.Args[1].(*ast.BasicLit)
			if !ok1 || !ok2 {
				t.Error("a rejection whose row or reason is not a literal")
				return true
			}
			r, err1 := strconv.Atoi(row.Value)
			s, err2 := strconv.Unquote(name.Value)
			if err1 != nil || err2 != nil {
				t.Error(err1, err2)
			}
			inCode[reason{r, s}] = true
			return true
		})
	}
	if len(inCode) < 30 {
		t.Errorf("found %d rejections only", len(inCode))
	}
	for r := range inCode {
		if !onPage[r] {
			t.Errorf("T%d %s is not on the page", r.row, r.name)
		}
	}
	for r := range onPage {
		if !inCode[r] {
			t.Errorf("T%d %s is on the page and nowhere in the code", r.row, r.name)
		}
	}
}
