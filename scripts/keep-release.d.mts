export function keepRelease(directory: string): Promise<readonly string[]>
