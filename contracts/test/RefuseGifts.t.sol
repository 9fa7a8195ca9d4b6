// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IMembers} from "../src/interfaces/IMembers.sol";
import {Standing} from "../src/interfaces/Types.sol";
import {Base} from "./Base.t.sol";

/// What refusing does to transfers is told where the transfers are.
contract RefuseGiftsTest is Base {
    function testRefuseGifts() public {
        vm.expectEmit(address(members));
        emit IMembers.GiftsRefused(provider, true);
        vm.prank(provider);
        members.refuseGifts(true);

        assertTrue(_refuses(provider));
        assertFalse(_refuses(developer));
        (,, Standing standing) = members.rootsOf(developer, provider);
        assertEq(uint8(standing), uint8(Standing.REFUSING));

        vm.prank(provider);
        members.refuseGifts(false);

        assertFalse(_refuses(provider));
        (,, standing) = members.rootsOf(developer, provider);
        assertEq(uint8(standing), uint8(Standing.ACTIVE));
    }

    /// It is the choice of an account, not of its root.
    function testRefuseGiftsOfOneWallet() public {
        attach(affiliate, provider);
        refuseGifts(provider);

        assertTrue(_refuses(provider));
        assertFalse(_refuses(affiliate));
    }

    function testRefuseGiftsPassesToTheSuccessor() public {
        refuseGifts(affiliate);
        recover(affiliate, stranger);

        assertTrue(_refuses(stranger));
    }

    function testRefuseGiftsNotMember(address account) public {
        vm.assume(!isMember(account));
        vm.expectRevert(abi.encodeWithSelector(IMembers.NotMember.selector, account));
        vm.prank(account);
        members.refuseGifts(true);
    }

    function testRefuseGiftsReplaced() public {
        recover(affiliate, stranger);
        vm.expectRevert(abi.encodeWithSelector(IMembers.Replaced.selector, affiliate, stranger));
        vm.prank(affiliate);
        members.refuseGifts(true);
    }

    /// Who has lapsed receives nothing anyway.
    function testLapsedIsInactiveWhateverItRefuses() public {
        refuseGifts(provider);
        vm.warp(UNTIL);
        (,, Standing standing) = members.rootsOf(developer, provider);
        assertEq(uint8(standing), uint8(Standing.INACTIVE));
    }

    function _refuses(address account) private view returns (bool refusesGifts) {
        (,,, refusesGifts) = members.memberOf(account);
    }
}
