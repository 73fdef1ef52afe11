/**
 * The longest JSON text of one object that is read, alone on a page or in a watch event. etcd refuses more than 1.5 MiB by default,
 * and the API server writes `<` as the six characters `\u003c`, which makes 9 MiB. A larger object is skipped and takes no memory.
 */
export const MAX_OBJECT_BYTES = 16 * 1024 * 1024;
