// Renders a Helm chart with the engine that Helm has: Go's text/template and sprig, both as Debian
// packages them, and Helm's few functions of its own. For what the chart here uses; a function that is
// not here is an error. Not Helm: no dependencies, hooks, lookup or capabilities.
//
//	render CHART RELEASE NAMESPACE [VALUES.yaml…]
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig"
	"gopkg.in/yaml.v3"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// As Helm reads it: all numbers are float64, as in JSON.
func load(path string) map[string]interface{} {
	text, err := os.ReadFile(path)
	check(err)
	var value interface{}
	check(yaml.Unmarshal(text, &value))
	if value == nil {
		return map[string]interface{}{}
	}
	bytes, err := json.Marshal(value)
	check(err)
	var out map[string]interface{}
	check(json.Unmarshal(bytes, &out))
	return out
}

// Maps are merged, null removes, all else is replaced.
func merge(into, from map[string]interface{}) {
	for key, value := range from {
		below, isMap := value.(map[string]interface{})
		old, wasMap := into[key].(map[string]interface{})
		switch {
		case value == nil:
			delete(into, key)
		case isMap && wasMap:
			merge(old, below)
		default:
			into[key] = value
		}
	}
}

func main() {
	if len(os.Args) < 4 {
		check(fmt.Errorf("usage: render CHART RELEASE NAMESPACE [VALUES.yaml…]"))
	}
	chart, release, namespace := os.Args[1], os.Args[2], os.Args[3]
	values := load(filepath.Join(chart, "values.yaml"))
	for _, path := range os.Args[4:] {
		merge(values, load(path))
	}
	about := load(filepath.Join(chart, "Chart.yaml"))
	root := template.New("root").Option("missingkey=zero")
	functions := sprig.TxtFuncMap()
	// Helm leaves these out, too: a chart is not to see the machine.
	delete(functions, "env")
	delete(functions, "expandenv")
	functions["include"] = func(name string, data interface{}) (string, error) {
		var out bytes.Buffer
		err := root.ExecuteTemplate(&out, name, data)
		return out.String(), err
	}
	functions["toYaml"] = func(value interface{}) string {
		var out bytes.Buffer
		encoder := yaml.NewEncoder(&out)
		encoder.SetIndent(2)
		check(encoder.Encode(value))
		return strings.TrimSuffix(out.String(), "\n")
	}
	functions["required"] = func(why string, value interface{}) (interface{}, error) {
		if value == nil || value == "" {
			return nil, fmt.Errorf("%s", why)
		}
		return value, nil
	}
	root.Funcs(functions)
	paths, err := filepath.Glob(filepath.Join(chart, "templates", "*"))
	check(err)
	sort.Strings(paths)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		check(err)
		_, err = root.New(filepath.Base(path)).Parse(string(text))
		check(err)
	}
	data := map[string]interface{}{
		"Values":  values,
		"Chart":   map[string]interface{}{"Name": about["name"], "Version": about["version"], "AppVersion": about["appVersion"]},
		"Release": map[string]interface{}{"Name": release, "Namespace": namespace, "Service": "Helm"},
	}
	for _, path := range paths {
		name := filepath.Base(path)
		if !strings.HasSuffix(name, ".yaml") {
			// NOTES.txt must render, too; partials have nothing to say.
			check(root.ExecuteTemplate(&bytes.Buffer{}, name, data))
			continue
		}
		var out bytes.Buffer
		check(root.ExecuteTemplate(&out, name, data))
		text := strings.TrimSpace(strings.ReplaceAll(out.String(), "<no value>", ""))
		if text == "" {
			continue
		}
		fmt.Printf("---\n# Source: %s/templates/%s\n%s\n", about["name"], name, strings.TrimPrefix(text, "---\n"))
	}
}
