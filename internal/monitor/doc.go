// Package monitor shows a run to those who watch over it: metrics for Prometheus, and whether
// it is well, over HTTP.
//
// It is told what happens and keeps counts. No tag or digest is a label: there may be ten
// thousands of them, and a report names them. Repositories are, where both sides are compared:
// whoever is alerted has to know which. What it shows is not secret, and nothing that is sent to
// it changes anything.
package monitor
