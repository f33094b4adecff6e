//go:build linux

package main

import (
	"fmt"
	"io"
)

const pairHead = `                       images        signatures/s           processes, ms of CPU for each   CPU of all cores, while ours runs
key                 loop   ours    loop   ours  ratio      loop   ours     loop   ours   itself plugins servers others   allows
`

// printPair prints how both did with one kind of key.
func printPair(out io.Writer, name string, r row) {
	fmt.Fprintf(out, "%-16s %7d %6d %7.1f %6.1f %5.1fx    %6s %6s   %6.1f %6.1f   %4.0f %%  %4.0f %%  %4.0f %% %4.0f %%  %5.0f/s\n",
		name, r.loop.signatures, r.ours.signatures, r.loop.rate(), r.ours.rate(), r.ratio(),
		processes(r.loop), processes(r.ours), millis(r.loop.cpu()), millis(r.ours.cpu()),
		100*r.ours.ownShare(), 100*r.ours.childShare(), 100*r.ours.share(r.ours.servers), 100*r.ours.others(), r.ours.cpuAllows())
}

// processes is how many of the plugin's there were for each signature. Only kmstest tells.
func processes(c contestant) string {
	if c.key.processes == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", c.each(int64(c.key.processes)))
}
