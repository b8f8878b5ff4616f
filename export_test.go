package causeway

// EraseAtOnce has what people take back erased without the month of grace.
func EraseAtOnce(a *App) { a.holdings.after = 0 }
