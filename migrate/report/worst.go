package report

// trouble is a row that is not well, or a repository of which something is to be told
// beside its rows; its name is empty then.
type trouble struct {
	standing                        Standing
	class, repository, name, reason string
}

// worstFirst are the standings in the order in which somebody has to look at them.
var worstFirst = []Standing{Problem, Unclear, Aside, Well}

// notWell counts what worst lists where nothing limits it.
func (s *Saved) notWell() int { return s.Counts[Problem] + s.Counts[Unclear] + s.Counts[Aside] }

// worst are those of what is not well that somebody has to look at first, limit at most.
func (s *Saved) worst(limit int) ([]trouble, error) {
	t := troubles{limit: limit}
	err := s.Each(func(one Section) error { t.section(&one); return nil }, func(r Row) error { t.row(&r); return nil })
	return t.worst(), err
}

// troubles gathers the first rows of each standing, which is no more than is asked for.
type troubles struct {
	limit int
	all   map[Standing][]trouble
}

func (t *troubles) section(s *Section) {
	if st := sectionStanding(*s); st != Well {
		t.add(trouble{st, classOf(*s), s.Repository, "", s.Reason})
	}
}

func (t *troubles) row(r *Row) {
	if r.Standing != Well && len(t.all[r.Standing]) < t.limit {
		t.add(trouble{r.Standing, typeOf(*r), r.Repository, rowName(*r), r.Reason})
	}
}

func (t *troubles) add(one trouble) {
	if t.all == nil {
		t.all = map[Standing][]trouble{}
	}
	if of := t.all[one.standing]; len(of) < t.limit {
		t.all[one.standing] = append(of, one)
	}
}

func (t *troubles) worst() (list []trouble) {
	for _, st := range worstFirst {
		list = append(list, t.all[st]...)
	}
	return list[:min(len(list), t.limit)]
}
