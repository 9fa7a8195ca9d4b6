// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IMeter} from "../src/interfaces/IMeter.sol";
import {Base} from "./Base.t.sol";

contract AnchorTest is Base {
    function testAnchor(bytes32[3] memory roots, uint32[3] memory counts, uint64[3] memory gpuMs) public {
        bytes32 previous;
        for (uint64 epoch; epoch < 3; ++epoch) {
            if (roots[epoch] == 0) roots[epoch] = "root";
            if (counts[epoch] == 0) counts[epoch] = 1;
            assertEq(meter.nextEpoch(relayer), epoch);
            assertEq(meter.lastAnchor(relayer), previous);

            vm.expectEmit(address(meter));
            emit IMeter.Anchored(relayer, epoch, roots[epoch], previous, counts[epoch], gpuMs[epoch], "ipfs://epoch");
            vm.prank(relayer);
            meter.anchor(epoch, roots[epoch], counts[epoch], gpuMs[epoch], "ipfs://epoch");

            previous = keccak256(abi.encode(previous, epoch, roots[epoch], counts[epoch], gpuMs[epoch]));
        }
        assertEq(meter.lastAnchor(relayer), previous);
    }

    function testAnchorOfEachSubmitterByItself(bytes32 root) public {
        vm.assume(root != 0);
        vm.prank(provider);
        meter.anchor(0, root, 1, 0, "");
        vm.prank(developer);
        meter.anchor(0, root, 1, 0, "");

        assertEq(meter.nextEpoch(provider), 1);
        assertEq(meter.nextEpoch(developer), 1);
        assertEq(meter.nextEpoch(relayer), 0);
    }

    function testAnchorNotTheNextEpoch(uint64 epoch) public {
        vm.assume(epoch != 1);
        vm.startPrank(relayer);
        meter.anchor(0, "root", 1, 0, "");
        vm.expectRevert(abi.encodeWithSelector(IMeter.EpochNotNext.selector, epoch, 1));
        meter.anchor(epoch, "root", 1, 0, "");
    }

    function testAnchorEmpty(uint32 count, bytes32 root) public {
        vm.expectRevert(IMeter.EmptyAnchor.selector);
        meter.anchor(0, 0, count, 0, "");
        vm.expectRevert(IMeter.EmptyAnchor.selector);
        meter.anchor(0, root, 0, 0, "");
    }
}
