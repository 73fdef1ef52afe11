import { admission } from './admission/admission.ts';
import type { Bench } from './bench.ts';
import { hold } from './lab/hold.ts';
import { noop } from './lab/noop.ts';
import { start } from './lab/start.ts';
import { scale } from './scale/scale.ts';

export const BENCHES: readonly Bench[] = [admission, noop, hold, start, scale];
