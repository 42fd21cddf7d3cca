// Builds the applications once, before tests that run side by side would all want to.
import { buildApp } from '../web-demo/build.ts'
import { buildAiApp } from './ai-world.ts'

export default async function build(): Promise<void> {
  await buildApp()
  await buildAiApp()
}
