// SPDX-License-Identifier: MIT
import getPort, {portNumbers} from 'get-port';

console.log(await getPort({port: portNumbers(49000, 65000)}));
