// Package install writes MCP servers into the settings of the programs that use them,
// and reads them from there.
//
// Settings belong to people: comments, order and everything else in a file stay as
// they are. An edit is a change of the text at one place, and before anything is
// written both texts are read again, in full, and compared: if the edit did more than
// it should, or the file is of a shape that cannot be edited with certainty, nothing
// is written and the error says where. Before a file changes, a copy is put next to
// it; the change itself is one rename.
package install
