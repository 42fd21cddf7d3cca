import { defineConfig } from 'vitest/config'

/** Black-box suites: the same files, over sockets, against Node and against real workerd. */
const overSockets = ['conformance', 'integration', 'runtime', 'security'].map((folder) => `test/${folder}/**/*.test.ts`)
/** In these folders, tests that only make sense on Node: raw bytes on the socket, a clock that is moved by hand. */
const nodeOnly = '**/*.node.test.ts'

export default defineConfig({
  test: {
    testTimeout: 20_000,
    hookTimeout: 60_000,
    // Tests mostly wait, for time-outs and for each other's answers: more of them than there are cores.
    maxWorkers: 3,
    expect: { poll: { timeout: 8_000 } },
    projects: [
      {
        extends: true,
        test: { name: 'node', include: ['test/**/*.test.ts'], env: { COATCHECK_TEST_RUNTIME: 'node' } },
      },
      {
        extends: true,
        test: {
          name: 'node, tokens in the store',
          include: ['test/runtime/**/*.test.ts'],
          env: { COATCHECK_TEST_RUNTIME: 'node', COATCHECK_TEST_STORAGE: 'store' },
        },
      },
      {
        extends: true,
        test: {
          name: 'workerd',
          include: overSockets,
          exclude: [nodeOnly],
          env: { COATCHECK_TEST_RUNTIME: 'workerd' },
          globalSetup: 'test/support/worker-bundle.ts',
        },
      },
    ],
  },
})
