package report

// trouble is a row that is not well. If its name is empty, it is a repository with something to report besides its
// rows.
type trouble struct {
	standing                        Standing
	class, repository, name, reason string
}

// worstFirst are the standings in the order in which somebody has to look at them.
var worstFirst = []Standing{Problem, Unclear, Aside, Well}

// notWell counts what worst lists if there is no limit.
func (s *Saved) notWell() int { return s.Counts[Problem] + s.Counts[Unclear] + s.Counts[Aside] }

// worst returns, of what is not well, what somebody has to look at first, at most limit.
func (s *Saved) worst(limit int) ([]trouble, error) {
	t := troubles{limit: limit}
	err := s.Each(func(one Section) error { t.section(&one); return nil }, func(r Row) error { t.row(&r); return nil })
	return t.worst(), err
}

// troubles collects the first rows of each standing, up to the limit.
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
