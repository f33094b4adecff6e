package output

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/migrate/report"
)

// SavedResults says where the last results are saved.
type SavedResults struct{ dir string }

// Bind adds the flags.
func (o *SavedResults) Bind(f *pflag.FlagSet) {
	cli.Grouped(f, cli.GroupOutput, func(f *pflag.FlagSet) {
		f.StringVar(&o.dir, "results", "", "directory in which to save the last results for report, or none (default: dct2notation/results in the XDG state directory)")
	})
}

// BindLast adds the flag that chooses among the last results.
func BindLast(f *pflag.FlagSet, last *string) {
	f.StringVar(last, "last", "", "show the last run or the last verify, which may be that of ready (default: whichever ended last)")
}

// resultsDir returns where results are saved; empty: nowhere.
func (o *SavedResults) resultsDir() (string, error) {
	switch o.dir {
	case "none":
		return "", nil
	case "":
		dir, err := cli.StateDir()
		return filepath.Join(dir, "results"), err
	}
	return o.dir, nil
}

// lastResult returns the file of the last result of a kind.
func lastResult(dir, of string) string { return filepath.Join(dir, "last-"+of+".jsonl") }

// Saved reads a result: from a file, or the last one of a kind or of any kind.
func (o *SavedResults) Saved(last string, files []string) (*report.Saved, error) {
	path, err := o.file(last, files)
	if err != nil {
		return nil, err
	}
	saved, err := load(path)
	if errors.Is(err, report.ErrNoResult) {
		return nil, cli.Usage(fmt.Errorf("%w\nhint: it takes what --report jsonl=FILE writes", err))
	}
	return saved, err
}

func (o *SavedResults) file(last string, files []string) (string, error) {
	if len(files) == 1 {
		if last != "" {
			return "", cli.Usage(errors.New("--last and a file cannot be used together"))
		}
		return files[0], nil
	}
	kinds := []string{report.OfRun, report.OfVerify}
	switch last {
	case "":
	case report.OfRun, report.OfVerify:
		kinds = []string{last}
	default:
		return "", cli.Usage(fmt.Errorf("--last %s: must be run or verify", last))
	}
	dir, err := o.resultsDir()
	if err != nil {
		return "", err
	}
	if dir == "" {
		return "", cli.Usage(errors.New("--results none: name a file to read then"))
	}
	newest, path := int64(0), ""
	for _, of := range kinds {
		info, err := os.Stat(lastResult(dir, of))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", cli.Usage(fmt.Errorf("looking for the last result: %w", err))
		}
		if err == nil && info.ModTime().UnixNano() > newest {
			newest, path = info.ModTime().UnixNano(), lastResult(dir, of)
		}
	}
	if path == "" {
		return "", cli.Usage(fmt.Errorf("no result is saved in %s\nhint: run or verify saves its last one there; --results names another directory", dir))
	}
	return path, nil
}

// load reads a saved result. It must be a file that can be read several times.
func load(path string) (*report.Saved, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, cli.Usage(fmt.Errorf("reading the result %s: it is not a regular file\nhint: save it to a file, as --report jsonl=FILE does", path))
	}
	saved, err := report.Load(func() (io.ReadCloser, error) { return os.Open(path) })
	if err != nil {
		return nil, cli.Usage(fmt.Errorf("reading the result %s: %w", path, err))
	}
	return saved, nil
}

// Merged joins the results of all shards in a temporary file, which remove deletes.
func Merged(files []string) (saved *report.Saved, remove func(), err error) {
	shards := make([]*report.Saved, len(files))
	for i, path := range files {
		if shards[i], err = load(path); err != nil {
			return nil, nil, err
		}
	}
	f, err := os.CreateTemp("", recordingOf("merged"))
	if err != nil {
		return nil, nil, err
	}
	remove = func() { _ = os.Remove(f.Name()) } // a leftover does no harm
	err = errors.Join(report.Merge(f, files, shards), f.Close())
	if err == nil {
		saved, err = load(f.Name())
	}
	if err != nil {
		remove()
		if errors.Is(err, report.ErrMixture) {
			err = cli.Usage(fmt.Errorf("%w\nhint: give the result of each shard once, of one run or verify of them all", err))
		}
		return nil, nil, err
	}
	return saved, remove, nil
}
