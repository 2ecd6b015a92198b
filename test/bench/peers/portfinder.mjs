// SPDX-License-Identifier: MIT
import portfinder from 'portfinder';

console.log(await portfinder.getPortPromise({port: 49000, stopPort: 65000}));
