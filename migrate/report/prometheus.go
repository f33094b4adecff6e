package report

import (
	"io"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// savedPrometheus writes the text format for node_exporter's textfile collector.
func savedPrometheus(w io.Writer, s *Saved, _ Options) error {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "dct2notation_" + s.Head.Of + "_" + name, Help: help}, labels)
	}
	rows := gauge("rows", "Tags compared, or digests settled, by repository and class.", "repository", "class")
	unread := gauge("unread", "Repositories whose trust data could not be read: 1 for each.", "repository", "class")
	expires := gauge("trust_data_expires_timestamp_seconds", "When a role's metadata, or the root's certificate, expires.", "repository", "role")
	certs := gauge("certificate_expires_timestamp_seconds", "When the first certificate of a trusted signature of the repository expires.", "repository")
	well := gauge("well", "1 if nothing is left to do and nothing is unknown.")
	complete := gauge("complete", "1 if all was looked at.")
	ended := gauge("ended_timestamp_seconds", "When the result ended.")

	first := map[string]time.Time{}
	err := s.Each(func(one Section) error {
		name := safetext.Safe(one.Repository, 512)
		if sectionStanding(one) != Well {
			unread.WithLabelValues(name, safetext.Safe(classOf(one), 64)).Set(1)
		}
		for _, e := range one.Expiries {
			expires.WithLabelValues(name, safetext.Safe(e.Role, 256)).Set(float64(e.At.Unix()))
		}
		return nil
	}, func(r Row) error {
		name := safetext.Safe(r.Repository, 512)
		rows.WithLabelValues(name, safetext.Safe(r.Class, 64)).Inc()
		if at := r.Expires; !at.IsZero() && (first[name].IsZero() || at.Before(first[name])) {
			first[name] = at
			certs.WithLabelValues(name).Set(float64(at.Unix()))
		}
		return nil
	})
	if err != nil {
		return err
	}
	well.WithLabelValues().Set(oneIf(s.End.Well))
	complete.WithLabelValues().Set(oneIf(s.End.Complete))
	if !s.End.Ended.IsZero() {
		ended.WithLabelValues().Set(float64(s.End.Ended.Unix()))
	}
	registry := prometheus.NewPedanticRegistry()
	for _, g := range []*prometheus.GaugeVec{rows, unread, expires, certs, well, complete, ended} {
		if err := registry.Register(g); err != nil {
			return err
		}
	}
	families, err := registry.Gather()
	if err != nil {
		return err
	}
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(w, f); err != nil {
			return err
		}
	}
	return nil
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
