# SPDX-License-Identifier: MIT
import port_for

print(port_for.select_random(set(range(49000, 65001))))
