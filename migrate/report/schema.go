package report

import (
	"embed"
	"maps"
	"slices"
)

//go:embed schema/*.schema.json
var schemas embed.FS

// schemaKinds are the JSON forms, with what each describes.
var schemaKinds = map[string]string{
	"result": "a line of a saved result (jsonl)", "run": "run -o json", "verify": "verify -o json", "images": "verify --images -o json", "inspect": "inspect -o json", "plan": "plan -o json",
	"doctor": "doctor -o json", "status": "status -o json", "snapshot": "snapshot -o json", "snapshot-verify": "snapshot verify -o json",
	"ready": "ready -o json", "undo": "undo -o json", "report-push": "report push -o json", "policy": "policy -o json", "version": "version -o json",
}

// SchemaKinds returns the names that Schema accepts, sorted.
func SchemaKinds() []string { return slices.Sorted(maps.Keys(schemaKinds)) }

// Schema returns the JSON Schema of what a verb writes; false if it does not exist.
func Schema(kind string) ([]byte, bool) {
	if schemaKinds[kind] == "" {
		return nil, false
	}
	raw, err := schemas.ReadFile("schema/" + kind + ".schema.json")
	return raw, err == nil
}
