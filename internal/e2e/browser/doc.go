// Package browser opens the HTML report in Debian's Chromium, without a window, as a person
// would: from a file, with the mouse and with the keyboard alone. What it promises: nothing
// in a result is taken for markup or script, the page asks nobody for anything, and 50,000
// rows are searched, filtered and sorted without waiting.
package browser
