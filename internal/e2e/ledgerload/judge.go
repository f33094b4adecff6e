package main

import (
	"fmt"
	"reflect"

	"github.com/dct2notation/dct2notation/state"
)

// judge returns an error unless the ledger has everything that was acknowledged, at most each
// item's move in progress beyond that, and nothing incomplete, and unless work can continue from
// there.
func (w writing) judge(path string, acked map[int]int) error {
	at, err := read(path)
	if err == nil {
		err = at.matches(acked)
	}
	if err != nil {
		return err
	}
	if err := w.write(path); err != nil {
		return fmt.Errorf("going on: %w", err)
	}
	if at, err = read(path); err != nil {
		return fmt.Errorf("after going on: %w", err)
	}
	for n := range w.items {
		if at.step[n] != len(script(n)) {
			return fmt.Errorf("after going on: item %d has made %d steps", n, at.step[n])
		}
	}
	return nil
}

// read opens a ledger, reads all of it and closes it.
func read(path string) (found, error) {
	l, err := state.Open(path, state.Options{Tool: tool})
	if err != nil {
		return found{}, err
	}
	at, err := survey(l)
	if e := l.Close(); err == nil {
		err = e
	}
	return at, err
}

// found is the content of a ledger.
type found struct {
	step   map[int]int // by item: number of steps of its script
	events []state.Event
}

// survey reads all of a ledger. It returns an error if something is incomplete.
func survey(l *state.Ledger) (found, error) {
	at := found{step: map[int]int{}}
	perItem := map[state.Key]int{}
	for {
		more, err := l.Events(uint64(len(at.events)), 0)
		if err != nil {
			return at, err
		}
		if len(more) == 0 {
			break
		}
		for _, e := range more {
			perItem[e.Item]++
		}
		at.events = append(at.events, more...)
	}
	stages := map[state.Stage]int{}
	items, err := allItems(l)
	if err != nil {
		return at, err
	}
	for _, i := range items {
		n := int(i.Size - 500)
		stages[i.Stage]++
		if at.step[n], err = stepOf(l, n, i, perItem[i.Key]); err != nil {
			return at, err
		}
	}
	counts, err := l.Counts()
	if err != nil {
		return at, err
	}
	for stage, n := range counts {
		if stages[stage] != n {
			return at, fmt.Errorf("%d items are %s, counted were %d", stages[stage], stage, n)
		}
	}
	return at, l.VerifyEvents()
}

func allItems(l *state.Ledger) ([]state.Item, error) {
	var list []state.Item
	var after state.Key
	for {
		items, err := l.Items(after, 0)
		if err != nil || len(items) == 0 {
			return list, err
		}
		list, after = append(list, items...), items[len(items)-1].Key
	}
}

// stepOf returns after which step of its script an item is, and checks what belongs to it.
func stepOf(l *state.Ledger, n int, i state.Item, events int) (int, error) {
	if i.Key != key(n) {
		return 0, fmt.Errorf("item %d has the key %s", n, i.Key)
	}
	for at, s := range script(n) {
		if s.stage != i.Stage || s.events != events {
			continue
		}
		e, has, err := l.Envelope(i.Key)
		switch {
		case err != nil:
			return 0, err
		case has != s.envelope:
			return 0, fmt.Errorf("item %d is %s after %d events, envelope in the outbox: %v", n, i.Stage, events, has)
		case has && !reflect.DeepEqual(e, envelope(n)):
			return 0, fmt.Errorf("item %d has another envelope than it was given", n)
		}
		return at + 1, nil
	}
	return 0, fmt.Errorf("item %d is %s after %d events, which is no step of its way", n, i.Stage, events)
}

// matches compares the ledger with what was acknowledged.
func (f found) matches(acked map[int]int) error {
	for n, steps := range acked {
		if f.step[n] < steps {
			return fmt.Errorf("item %d has made %d steps, acknowledged were %d", n, f.step[n], steps)
		}
	}
	for n, steps := range f.step {
		if steps > acked[n]+1 {
			return fmt.Errorf("item %d has made %d steps, though only %d were answered", n, steps, acked[n])
		}
	}
	return nil
}
