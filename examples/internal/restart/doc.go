// Package restart kills a program of causeway's that has its data on disk, starts it
// again, and looks, with a client made of nothing but net/http, at what is left: every
// byte that a client needs is seen here, none is left to an SDK. e2e/clients/restart.test.mjs
// does the same with the TypeScript SDK.
package restart
