'use strict';
// Preloaded into the suite (node --require). Its mock servers listen without
// naming a host, which means on every interface of the machine; what is only
// for this test stays on the loopback interface.
//
// The address is put in where listening happens and not by passing a host to
// listen(): a host is looked up first, and the suite reads the server's port
// in the same tick.
const { Server } = require('node:net');

const setUp = Server.prototype._listen2;
if (typeof setUp !== 'function') {
  throw new Error('bind-local: this Node has no net.Server._listen2 to wrap');
}

Server.prototype._listen2 = function (address, port, family, ...rest) {
  const everywhere = !address || address === '::' || address === '0.0.0.0';
  const isPort = typeof port === 'number' && port >= 0; // pipes have -1
  return everywhere && isPort
    ? setUp.call(this, '127.0.0.1', port, 4, ...rest)
    : setUp.call(this, address, port, family, ...rest);
};
