// The proxy of the command line, as the tests of faults know it.
export { startProxy, type TcpProxy, type Which } from '../../src/cli/proxy.js'
