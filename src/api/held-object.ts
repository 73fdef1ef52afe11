import { asObject, asStringMap, at, type JsonObject } from '../json.ts';
import { type Hold, writeHold } from './hold.ts';
import { HELD_LABEL, HOLD_ANNOTATION } from './names.ts';

/** All that Pullgate ever writes on a Deployment. `null` removes, absent leaves alone. */
interface Marks {
  readonly hold?: Hold | null;
  readonly paused?: boolean;
  readonly annotations?: Readonly<Record<string, string | null>>;
}

/**
 * The Deployment with these marks. What does not change is shared with the given object, which itself is not touched:
 * a diff of the two sees no more than the marks. Where nothing changes it is the given object.
 */
export function withMarks(object: JsonObject, marks: Marks): JsonObject {
  const metadata = asObject(object['metadata']);
  const spec = asObject(object['spec']);
  const annotations: Record<string, string | null> = { ...marks.annotations };
  const labels: Record<string, string | null> = {};
  if (marks.hold !== undefined) {
    annotations[HOLD_ANNOTATION] = marks.hold === null ? null : writeHold(marks.hold);
    labels[HELD_LABEL] = marks.hold === null ? null : 'true';
  }
  const marked = withMap(withMap(metadata, 'annotations', annotations), 'labels', labels);
  const halted = marks.paused === undefined ? spec : withPaused(spec, marks.paused);
  return marked === metadata && halted === spec ? object : { ...object, metadata: marked, spec: halted };
}

function withMap(
  metadata: JsonObject,
  key: 'annotations' | 'labels',
  changes: Record<string, string | null>,
): JsonObject {
  const before = asStringMap(at(metadata, key));
  const after: Record<string, string> = { ...before };
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) delete after[name];
    else after[name] = value;
  }
  const same =
    Object.keys(after).length === Object.keys(before).length &&
    Object.entries(after).every(([name, value]) => before[name] === value);
  return same ? metadata : { ...metadata, [key]: after };
}

/** The API server leaves a false `paused` out, so false and absent are the same and neither is written for the other. */
function withPaused(spec: JsonObject, paused: boolean): JsonObject {
  if ((spec['paused'] === true) === paused) return spec;
  if (paused) return { ...spec, paused: true };
  const { paused: _, ...rest } = spec;
  return rest;
}
