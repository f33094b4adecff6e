package notarytest

import (
	"net/http"
	"slices"
	"strconv"
)

// defaultRecords is how many changes records=0 returns, as on the real server.
const defaultRecords = 100

// A feedPage is the answer of both changefeeds; Records is null at the end, as there.
type feedPage struct {
	Count   int      `json:"count"`
	Records []change `json:"records"`
}

// serveChanges answers a changefeed, of one GUN or (empty) of all.
func (s *Server) serveChanges(w http.ResponseWriter, r *http.Request, gun string) {
	query := r.URL.Query()
	records, err := strconv.ParseInt(query.Get("records"), 10, 32)
	if err != nil {
		refuse(w, http.StatusBadRequest, codeParameters, err.Error())
		return
	}
	after := int64(0)
	if id := query.Get("change_id"); id != "" {
		if after, err = strconv.ParseInt(id, 10, 32); err != nil {
			refuse(w, http.StatusBadRequest, codeParameters, err.Error())
			return
		}
	}
	if records == 0 {
		records = defaultRecords
	}
	page := s.shelf.page(gun, int(after), int(records))
	writeJSON(w, http.StatusOK, feedPage{Count: len(page), Records: page})
}

// page returns up to records changes after the one with this number, or, if one of the two is
// negative, up to -records changes before it. -1 stands behind the newest. Both
// ways the oldest comes first.
func (sh *shelf) page(gun string, after, records int) []change {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	backwards := after < 0 || records < 0
	if after < 0 || after > len(sh.changes) {
		// One more than the number of the newest, so that backwards it is included.
		after = len(sh.changes) + 1
	}
	if records < 0 {
		records = -records
	}
	var page []change
	take := func(c change) bool {
		if gun == "" || c.GUN == gun {
			page = append(page, c)
		}
		return len(page) < records
	}
	if !backwards {
		for i := after; i < len(sh.changes) && take(sh.changes[i]); i++ {
		}
		return page
	}
	for i := after - 2; i >= 0 && take(sh.changes[i]); i-- {
	}
	slices.Reverse(page)
	return page
}
