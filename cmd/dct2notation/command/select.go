package command

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/safetext"
)

// selectRepositories gives the repositories that arguments and configuration name, each
// once, in order. An argument is a repository, or a glob over the configuration's list.
func selectRepositories(args []string, cfg config) ([]dct.GUN, error) {
	names := args
	if len(names) == 0 {
		names = cfg.Repositories
	}
	if len(names) == 0 {
		return nil, usage(errors.New("no repositories\nhint: name them as arguments, or under repositories in the configuration"))
	}
	var guns []dct.GUN
	for _, name := range names {
		some, err := expandName(name, cfg.Repositories)
		if err != nil {
			return nil, usage(err)
		}
		guns = append(guns, some...)
	}
	var kept []dct.GUN
	for _, gun := range guns {
		excluded, err := matchesAny(cfg.Exclude, gun.String())
		if err != nil {
			return nil, usage(err)
		}
		if !excluded && !slices.Contains(kept, gun) {
			kept = append(kept, gun)
		}
	}
	if len(kept) == 0 {
		return nil, usage(errors.New("every repository is excluded by the configuration"))
	}
	return kept, nil
}

func expandName(name string, listed []string) ([]dct.GUN, error) {
	if !strings.ContainsAny(name, "*?[") {
		gun, err := dct.ParseGUN(name)
		return []dct.GUN{gun}, err
	}
	var guns []dct.GUN
	for _, l := range listed {
		if strings.ContainsAny(l, "*?[") {
			continue
		}
		gun, err := dct.ParseGUN(l)
		if err != nil {
			return nil, err
		}
		ok, err := path.Match(name, gun.String())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", safetext.Safe(name, 256), err)
		}
		if ok {
			guns = append(guns, gun)
		}
	}
	if len(guns) == 0 {
		return nil, fmt.Errorf("%s matches none of the %d repositories in the configuration", safetext.Safe(name, 256), len(listed))
	}
	return guns, nil
}

func matchesAny(globs []string, name string) (bool, error) {
	for _, g := range globs {
		ok, err := path.Match(g, name)
		if err != nil {
			return false, fmt.Errorf("exclude %s: %w", safetext.Safe(g, 256), err)
		}
		if ok {
			return true, nil
		}
	}
	return false, nil
}
