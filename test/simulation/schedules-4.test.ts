// The same ten thousand schedules as its neighbours, a quarter each: see schedules.ts.
import './smaller-caches.ts'
import { testSchedules } from './schedules.ts'

testSchedules(4)
