// SPDX-License-Identifier: MIT
import {detect} from 'detect-port';

console.log(await detect(49000));
