// Package browser opens the HTML report in Debian's Chromium, without a window, as a person would:
// from a file, with the mouse and with only the keyboard. It promises that nothing in a result is
// taken for markup or script, that the page makes no requests, and that 50,000 rows are searched,
// filtered and sorted without waiting.
package browser
